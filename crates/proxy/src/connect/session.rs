//! What connect knows of the conversation that it carries.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::params::Annotations;
use crate::json::{Object, raw};
use crate::upstream::stdio::era::STATELESS;

const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The conversation's state.
#[derive(Debug, Default)]
pub(crate) struct Session {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `Mcp-Session-Id` of the older era.
    id: Option<HeaderValue>,
    /// The version that `initialize` agreed on.
    version: Option<HeaderValue>,
    /// The client speaks the older era, the server the stateless one: what each request says of the client.
    lifted: Option<Lift>,
    /// The client's `initialize`, said again when the server has forgotten the session.
    hello: Option<String>,
    in_flight: HashMap<String, CancellationToken>,
    annotations: Annotations,
}

/// What a stateless request says of its client.
#[derive(Debug, Clone)]
pub(crate) struct Lift {
    pub(crate) client_info: Box<RawValue>,
}

impl Session {
    /// Begins a conversation of the older era.
    pub(crate) fn agree(&self, id: Option<HeaderValue>, version: Option<HeaderValue>) {
        let mut inner = self.lock();
        inner.id = id;
        inner.version = version;
        inner.lifted = None;
    }

    /// Begins a conversation that is lifted into the stateless era.
    pub(crate) fn lift(&self, lift: Lift) {
        let mut inner = self.lock();
        inner.id = None;
        inner.version = None;
        inner.lifted = Some(lift);
    }

    pub(crate) fn remember(&self, hello: &str) {
        self.lock().hello = Some(hello.to_owned());
    }

    pub(crate) fn hello(&self) -> Option<String> {
        self.lock().hello.clone()
    }

    pub(crate) fn is_lifted(&self) -> bool {
        self.lock().lifted.is_some()
    }

    pub(crate) fn id(&self) -> Option<HeaderValue> {
        self.lock().id.clone()
    }

    /// Puts into a request of a lifted conversation what the stateless era wants there.
    pub(crate) fn raise(&self, message: &mut Object<'_>) {
        let Some(lift) = self.lock().lifted.clone() else { return };
        let params = {
            let mut params = message.object("params").unwrap_or_default();
            let meta = {
                let mut meta = params.object("_meta").unwrap_or_default();
                stateless_meta(&mut meta, &lift);
                meta.raw()
            };
            params.set("_meta", meta);
            params.raw()
        };
        message.set("params", params);
    }

    /// The headers of a message.
    pub(crate) fn headers(&self, message: &Object<'_>) -> HeaderMap {
        let inner = self.lock();
        let mut headers = base();
        let params = message.object("params");
        let own = params.as_ref().and_then(|params| {
            params.object("_meta").and_then(|meta| meta.text(PROTOCOL_VERSION).map(std::borrow::Cow::into_owned))
        });
        if let Some(version) = own.or_else(|| inner.lifted.as_ref().map(|_| STATELESS.to_owned())) {
            if let Ok(version) = HeaderValue::from_str(&version) {
                headers.insert("mcp-protocol-version", version);
            }
            if let Some(method) = message.text("method") {
                inner.annotations.mirror(&method, params.as_ref(), &mut headers);
            }
            return headers;
        }
        drop(inner);
        self.add_session(&mut headers);
        headers
    }

    /// The headers of a GET or DELETE of the older era.
    pub(crate) fn bare_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.add_session(&mut headers);
        headers
    }

    fn add_session(&self, headers: &mut HeaderMap) {
        let inner = self.lock();
        if let Some(version) = &inner.version {
            headers.insert("mcp-protocol-version", version.clone());
        }
        if let Some(id) = &inner.id {
            headers.insert("mcp-session-id", id.clone());
        }
    }

    /// Takes a request in flight, so that it can be cancelled.
    pub(crate) fn begin(&self, id: &RawValue) -> CancellationToken {
        let token = CancellationToken::new();
        self.lock().in_flight.insert(id.get().to_owned(), token.clone());
        token
    }

    pub(crate) fn end(&self, id: &RawValue) {
        self.lock().in_flight.remove(id.get());
    }

    /// Cancels the request of this id; nobody waits for its answer any more.
    pub(crate) fn cancel(&self, id: &RawValue) {
        if let Some(token) = self.lock().in_flight.get(id.get()) {
            token.cancel();
        }
    }

    /// Learns from a result that passes by.
    pub(crate) fn learn(&self, answer: &Object<'_>) {
        if let Some(result) = answer.object("result").filter(|result| result.has("tools")) {
            self.lock().annotations.learn(&result);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every POST carries.
pub(crate) fn base() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers
}

fn stateless_meta(meta: &mut Object<'_>, lift: &Lift) {
    meta.set(PROTOCOL_VERSION, raw(STATELESS));
    meta.set("io.modelcontextprotocol/clientInfo", lift.client_info.clone());
    // Nothing can be asked of a client that expects requests on a stream that this era has not.
    meta.set("io.modelcontextprotocol/clientCapabilities", Object::default().raw());
}
