//! What it answers.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark_mtls::Visitor;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{Fault, State};

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/jwks", get(keys))
        .route("/token", post(token))
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), faults))
        .with_state(state)
}

/// Whatever goes wrong before anything is read.
async fn faults(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let faults = {
        let mut inner = state.lock();
        inner.introspections += usize::from(request.uri().path().ends_with("/introspect"));
        inner.faults.clone()
    };
    for fault in &faults {
        match fault {
            Fault::Slow(by) => tokio::time::sleep(*by).await,
            Fault::Status(status) => return StatusCode::from_u16(*status).expect("a status").into_response(),
            Fault::Huge => return ([(CONTENT_TYPE, "application/json")], vec![b' '; 50_000_000]).into_response(),
            Fault::Html => return ([(CONTENT_TYPE, "text/html")], "<html>sign in</html>").into_response(),
            Fault::Redirect => return (StatusCode::FOUND, [(LOCATION, "https://localhost:1/")]).into_response(),
            Fault::Claims(_) | Fault::Answer(_) | Fault::Metadata(_) | Fault::NoIntrospection => {}
        }
    }
    next.run(request).await
}

async fn metadata(Shared(state): Shared<Arc<State>>) -> Response {
    let at = |path: &str| format!("{}{path}", state.issuer);
    let mut metadata = json!({
        "issuer": state.issuer, "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
        "introspection_endpoint": at("/introspect"), "revocation_endpoint": at("/revoke"),
        "token_endpoint_auth_methods_supported": ["tls_client_auth", "private_key_jwt", "client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": super::client::ALGORITHMS,
        "tls_client_certificate_bound_access_tokens": true,
    });
    for fault in &state.lock().faults {
        if let Fault::Metadata(other) = fault {
            overlay(metadata.as_object_mut().expect("an object"), other);
        }
    }
    json_answer(StatusCode::OK, &metadata)
}

async fn keys(Shared(state): Shared<Arc<State>>) -> Response {
    let mut inner = state.lock();
    inner.key_requests += 1;
    json_answer(StatusCode::OK, &inner.published())
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let member = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut inner = state.lock();
    inner.token_requests += 1;
    let Some(id) = member("client_id").map(str::to_owned).or_else(|| super::client::named(&headers)) else {
        return refuse("invalid_client");
    };
    let Some(client) = inner.clients.get(&id).cloned() else { return refuse("invalid_client") };
    if !client.proves(&id, &visitor, &headers, &form, &state.issuer) {
        return refuse("invalid_client");
    }
    inner.asserted_with = member("client_assertion").and_then(super::client::algorithm);
    let subject = match member("grant_type") {
        Some("client_credentials") => None,
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            let subject = member("subject_token").unwrap_or_default();
            let known = inner.issued.iter().find(|(token, _)| token == subject && !inner.revoked.contains(token));
            let Some((_, claims)) = known else { return refuse("invalid_grant") };
            Some(claims.clone())
        }
        _ => return refuse("unsupported_grant_type"),
    };
    let Ok(scopes) = client.scopes(member("scope")) else { return refuse("invalid_scope") };
    let Some(audience) = client.audience().or_else(|| member("resource")) else { return refuse("invalid_target") };
    let now = state.clock.now().as_secs();
    let count = inner.issued.len();
    let mut claims = json!({
        "iss": state.issuer, "sub": id, "client_id": id, "aud": audience, "iat": now, "exp": now + inner.life,
        "jti": format!("{count}"), "scope": scopes.join(" "), "roles": client.roles(),
    });
    let claims = claims.as_object_mut().expect("an object");
    if let Visitor::Verified(peer) = &visitor {
        claims.insert("cnf".to_owned(), json!({"x5t#S256": peer.leaf().thumbprint().to_base64url()}));
    }
    if let Some(subject) = subject {
        claims.insert("sub".to_owned(), subject["sub"].clone());
        claims.insert("act".to_owned(), json!({"sub": id}));
    }
    for fault in &inner.faults {
        if let Fault::Claims(other) = fault {
            overlay(claims, other);
        }
    }
    let signed = inner.keys.first().expect("a key").sign(&json!({}), &Value::Object(claims.clone()));
    let opaque = || URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, signed.as_bytes()));
    let token = if inner.opaque { opaque() } else { signed };
    let mut answer =
        json!({"access_token": token, "token_type": "Bearer", "expires_in": inner.life, "scope": scopes.join(" ")});
    for fault in &inner.faults {
        if let Fault::Answer(other) = fault {
            overlay(answer.as_object_mut().expect("an object"), other);
        }
    }
    let claims = claims.clone();
    crate::evidence::issued(&token);
    inner.issued.push((token, claims));
    json_answer(StatusCode::OK, &answer)
}

async fn introspect(
    Shared(state): Shared<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let (inner, now) = (state.lock(), state.clock.now().as_secs());
    if matches!(visitor, Visitor::Anonymous(_)) || inner.faults.contains(&Fault::NoIntrospection) {
        return refuse("invalid_client");
    }
    let token = member(&body, "token");
    let known = inner.issued.iter().find(|(issued, _)| *issued == token && !inner.revoked.contains(issued));
    let live = known.filter(|(_, claims)| claims["exp"].as_u64().is_some_and(|end| now < end));
    let mut answer: Map<String, Value> = live.map(|(_, claims)| claims.clone()).unwrap_or_default();
    answer.insert("active".to_owned(), live.is_some().into());
    json_answer(StatusCode::OK, &Value::Object(answer))
}

async fn revoke(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    state.lock().revoked.push(member(&body, "token"));
    StatusCode::OK.into_response()
}

fn member(body: &[u8], name: &str) -> String {
    form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
fn refuse(code: &str) -> Response {
    let status = if code == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    json_answer(status, &json!({ "error": code }))
}

fn json_answer(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Takes the members of `other` over; `null` takes one away.
pub(super) fn overlay(members: &mut Map<String, Value>, other: &Value) {
    for (name, value) in other.as_object().into_iter().flatten() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
}
