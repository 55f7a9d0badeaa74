//! A small OAuth authorization server, to be wrong on demand.
//!
//! Danger: it is for tests and demonstrations. It keeps its keys and every token that it issued in memory, forgets them when it
//! ends, limits nobody, and answers introspection and revocation for whoever holds a certificate. Where
//! `COUNTERMARK_TOKEN_REGISTER` names a file that is there, it appends every token to it, for whoever looks for leaks.

mod client;
mod key;
mod routes;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countermark_credential::Credential;
use countermark_identity::Clock;
use countermark_mtls::{Acceptor, AcceptorConfig, Anyone, ServeConfig, TrustGeneration, serve};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::client::Client;
use self::key::Key;
use crate::evidence;

/// A running authorization server on loopback; it ends when this is dropped.
#[derive(Debug)]
pub struct AuthorizationServer {
    state: Arc<State>,
    _running: DropGuard,
}

/// What it does wrong from now on.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "tests name what they want")]
pub enum Fault {
    /// Tokens say this of themselves instead of, or beside, what is right; `null` takes a claim away.
    Claims(Value),
    /// The token response has these members, or lacks those that are `null` here.
    Answer(Value),
    /// 50 MB of spaces.
    Huge,
    /// A page for people.
    Html,
    /// The metadata says this, or lacks those members that are `null` here.
    Metadata(Value),
    /// Nobody may ask what a token is.
    NoIntrospection,
    /// Everything is somewhere else.
    Redirect,
    /// Every answer takes this long.
    Slow(Duration),
    /// An error of the server, with this status.
    Status(u16),
}

#[derive(Debug)]
struct State {
    issuer: String,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    clients: HashMap<String, Client>,
    keys: Vec<Key>,
    /// Every token with its claims, unless it was revoked.
    issued: Vec<(String, Map<String, Value>)>,
    revoked: Vec<String>,
    faults: Vec<Fault>,
    token_requests: usize,
    key_requests: usize,
    introspections: usize,
    asserted_with: Option<String>,
    life: u64,
    opaque: bool,
}

impl AuthorizationServer {
    /// Serves at `https://localhost:PORT` with this credential, whose certificate must name `localhost`. Clients present
    /// certificates that verify under `trust`, or none.
    pub async fn start(
        credential: watch::Receiver<Arc<Credential>>,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let acceptor: Acceptor<Anyone> =
            Acceptor::of_callers(credential, trust, Arc::clone(&clock), AcceptorConfig::default())
                .expect("an acceptor");
        let inner = Inner {
            clients: HashMap::new(),
            keys: vec![Key::new("key-1")],
            issued: Vec::new(),
            revoked: Vec::new(),
            faults: Vec::new(),
            token_requests: 0,
            key_requests: 0,
            introspections: 0,
            asserted_with: None,
            life: 300,
            opaque: false,
        };
        let state = Arc::new(State { issuer: format!("https://localhost:{port}"), clock, inner: Mutex::new(inner) });
        let over = CancellationToken::new();
        let limits = ServeConfig { drain_timeout: Duration::from_millis(100), ..ServeConfig::default() };
        tokio::spawn(serve(listener, acceptor, routes::router(Arc::clone(&state)), limits, over.clone()));
        Self { state, _running: over.drop_guard() }
    }

    /// Its name: what tokens say in `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// Registers a client, or changes it.
    pub fn register(&self, id: &str, client: Client) {
        self.state.lock().clients.insert(id.to_owned(), client);
    }

    /// Gives this client no more tokens.
    pub fn disable(&self, id: &str) {
        self.state.lock().clients.remove(id);
    }

    /// Signs with a new key from now on; the old ones are published for as long as `keep` says.
    pub fn rotate_keys(&self, id: &str, keep: bool) {
        let mut inner = self.state.lock();
        if !keep {
            inner.keys.clear();
        }
        inner.keys.insert(0, Key::new(id));
    }

    /// Does this wrong from now on, beside what it did wrong before.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Does everything right again.
    pub fn recover(&self) {
        self.state.lock().faults.clear();
    }

    /// Seconds that tokens live from now on.
    pub fn set_life(&self, seconds: u64) {
        self.state.lock().life = seconds;
    }

    /// Issues tokens that say nothing of themselves from now on.
    pub fn set_opaque(&self, opaque: bool) {
        self.state.lock().opaque = opaque;
    }

    /// Every token that it ever issued, for whoever looks for them where they should not be.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.state.lock().issued.iter().map(|(token, _)| token.clone()).collect()
    }

    /// What the token with this place among [`Self::issued`] says.
    #[must_use]
    pub fn claims(&self, at: usize) -> Value {
        let inner = self.state.lock();
        inner.issued.get(at).map(|(_, claims)| Value::Object(claims.clone())).unwrap_or_default()
    }

    /// How often a token was asked for.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.state.lock().token_requests
    }

    /// How often the keys were asked for.
    #[must_use]
    pub fn key_requests(&self) -> usize {
        self.state.lock().key_requests
    }

    /// How often it was asked what a token is.
    #[must_use]
    pub fn introspections(&self) -> usize {
        self.state.lock().introspections
    }

    /// What the newest client assertion that it believed was signed with.
    #[must_use]
    pub fn asserted_with(&self) -> Option<String> {
        self.state.lock().asserted_with.clone()
    }

    /// Signs any claims under any header, as its tokens are signed: for tokens that are wrong in one way.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let token = self.state.lock().keys.first().expect("a key").sign(header, claims);
        evidence::issued(&token);
        token
    }

    /// How many tokens were revoked.
    #[must_use]
    pub fn revoked(&self) -> usize {
        self.state.lock().revoked.len()
    }

    /// Its keys, as it publishes them.
    #[must_use]
    pub fn keys(&self) -> Value {
        self.state.lock().published()
    }

    /// Ends a token, as an administrator would.
    pub fn revoke(&self, token: &str) {
        self.state.lock().revoked.push(token.to_owned());
    }
}

impl Inner {
    fn published(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().map(Key::jwk).collect();
        serde_json::json!({ "keys": keys })
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
