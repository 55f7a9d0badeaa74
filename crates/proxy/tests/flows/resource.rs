//! A server over mutual TLS that wants tokens, of the issuers and with the words that a test gives it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_credential::Source as _;
use countermark_mtls::{Acceptor, AcceptorConfig, Anyone, ServeConfig, Visitor, serve};
use countermark_testkit::TestSource;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::*;

pub struct Resource {
    pub url: String,
    pub state: Arc<Wants>,
    _source: TestSource,
    _running: DropGuard,
}

/// What it says of itself, and what it has seen.
#[derive(Default)]
pub struct Wants {
    /// The issuers that its metadata names; it takes tokens of any where there are none.
    pub issuers: Mutex<Vec<String>>,
    pub scopes_supported: Mutex<Vec<String>>,
    /// The scopes of its challenge.
    pub challenge: Mutex<Option<String>>,
    /// No token is good enough.
    pub refuses: Mutex<bool>,
    /// Any token that says nothing of itself is.
    pub takes_opaque: Mutex<bool>,
    pub described: AtomicUsize,
    /// Calls with a token that was refused.
    pub refused: AtomicUsize,
    /// The claims of the tokens that were good.
    pub shown: Mutex<Vec<Value>>,
    url: Mutex<String>,
}

impl Resource {
    /// Known to the estate as the server of this name.
    pub async fn start(estate: &Estate, name: &str) -> Self {
        let source = TestSource::new(estate.ca.mint(&estate.ca.server_spec(name).dns("localhost")).credential());
        let clock = Arc::new(estate.ca.clock().clone());
        let acceptor: Acceptor<Anyone> =
            Acceptor::of_callers(source.watch(), estate.trust().generations(), clock, AcceptorConfig::default())
                .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
        let state = Arc::new(Wants { url: Mutex::new(url.clone()), ..Wants::default() });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&state));
        let over = CancellationToken::new();
        tokio::spawn(serve(listener, acceptor, router, ServeConfig::default(), over.clone()));
        Self { url, state, _source: source, _running: over.drop_guard() }
    }
}

async fn answer(State(state): State<Arc<Wants>>, Extension(visitor): Extension<Visitor>, request: Request) -> Response {
    if request.uri().path().starts_with("/.well-known/oauth-protected-resource") {
        state.described.fetch_add(1, Ordering::SeqCst);
        let (url, issuers) = (&*state.url.lock().unwrap(), &*state.issuers.lock().unwrap());
        let scopes = &*state.scopes_supported.lock().unwrap();
        let document = json!({"resource": url, "authorization_servers": issuers, "scopes_supported": scopes});
        return document.to_string().into_response();
    }
    let Visitor::Verified(peer) = visitor else { panic!("every caller has a certificate") };
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let claims = header.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let bound = claims["cnf"]["x5t#S256"] == json!(peer.leaf().thumbprint().to_base64url());
    let issuers = state.issuers.lock().unwrap().clone();
    let known = issuers.is_empty() || issuers.iter().any(|issuer| claims["iss"] == *issuer);
    let opaque = *state.takes_opaque.lock().unwrap() && !header.is_empty() && !header.contains('.');
    if !(bound && known || opaque) || *state.refuses.lock().unwrap() {
        if !header.is_empty() {
            state.refused.fetch_add(1, Ordering::SeqCst);
        }
        let scope = state.challenge.lock().unwrap().as_ref().map(|scope| format!(" scope=\"{scope}\""));
        let challenge = format!("Bearer{}", scope.unwrap_or_default());
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    state.shown.lock().unwrap().push(claims);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    ledger(&http::Request::from_parts(parts, body)).map(Body::new)
}
