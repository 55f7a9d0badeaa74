//! A layer, two agents, and an upstream that answers what a test tells it to.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use countermark_identity::{Clock, ServerId};
use countermark_mtls::VerifiedPeer;
use countermark_policy::Policy;
use countermark_testkit::{Pair, TestCa, pair};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::sync::watch;
use tower_layer::Layer;
use tower_service::Service;

use crate::authorize::answer::{AnswerBody, full};
use crate::{Audit, AuditLine, Authorization, AuthorizeLayer, BoxError, Caller, HostNames, Recording};

pub(super) const POLICY: &str = r#"
version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_*", "post_entry", "drop_all"]
prompts = ["summary"]
resources = ["file:///books/*"]
methods = ["vendor/allowed"]

[[grant]]
who = ["intern-bot"]
servers = ["ledger"]
tools = ["read_*"]

[[deny]]
who = ["*"]
servers = ["*"]
tools = ["drop_*"]
"#;

/// What reached the upstream.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) caller: Caller,
}

type Handler = Arc<dyn Fn(&Seen) -> Response<AnswerBody> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Mutex<Handler>>,
}

impl Service<Request<Full<Bytes>>> for Upstream {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let mut body = Box::pin(body);
        let body = match futures_util::FutureExt::now_or_never(body.frame()) {
            Some(Some(Ok(frame))) => frame.into_data().unwrap(),
            _ => Bytes::new(),
        };
        let seen = Seen {
            method: parts.method,
            headers: parts.headers,
            body,
            caller: Caller::of(&parts.extensions).expect("the caller is known behind the layer"),
        };
        let handler = Arc::clone(&self.handler.lock().unwrap());
        let response = handler(&seen);
        self.seen.lock().unwrap().push(seen);
        ready(if response.status() == StatusCode::IM_A_TEAPOT { Err("down".into()) } else { Ok(response) })
    }
}

#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) written: Mutex<Vec<Value>>,
    pub(super) full: Mutex<bool>,
}

impl Audit for Lines {
    fn record(&self, line: &AuditLine<'_>) -> Recording {
        if *self.full.lock().unwrap() {
            return Err(io::ErrorKind::StorageFull.into()).into();
        }
        self.written.lock().unwrap().push(serde_json::to_value(line).unwrap());
        Ok(()).into()
    }
}

pub(super) struct World {
    pub(super) ca: TestCa,
    pub(super) billing: Pair,
    pub(super) intern: Pair,
    pub(super) policy: watch::Sender<Arc<Policy>>,
    pub(super) lines: Arc<Lines>,
    pub(super) upstream: Upstream,
    pub(super) layer: AuthorizeLayer,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(super) fn code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Authorization)) -> Self {
        let ca = TestCa::new("agents.internal");
        let (policy, watched) = watch::channel(Arc::new(parse(POLICY)));
        let lines = Arc::new(Lines::default());
        let server = ServerId::new(ca.trust_domain(), "ledger").unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ca.clock().clone());
        let hosts = Arc::new(HostNames::new(["ledger.internal"]));
        let mut config = Authorization::new(server, watched, Arc::clone(&lines) as Arc<dyn Audit>, hosts, clock);
        change(&mut config);
        Self {
            billing: pair(&ca, "billing-bot", "ledger").await,
            intern: pair(&ca, "intern-bot", "ledger").await,
            policy,
            lines,
            upstream: Upstream { seen: Arc::default(), handler: Arc::new(Mutex::new(Arc::new(|_: &Seen| ok()))) },
            layer: AuthorizeLayer::new(config),
            ca,
        }
    }

    pub(super) fn upstream_answers(&self, handler: impl Fn(&Seen) -> Response<AnswerBody> + Send + Sync + 'static) {
        *self.upstream.handler.lock().unwrap() = Arc::new(handler);
    }

    pub(super) fn billing(&self) -> VerifiedPeer {
        self.billing.server.peer().clone()
    }

    pub(super) fn intern(&self) -> VerifiedPeer {
        self.intern.server.peer().clone()
    }

    pub(super) fn set_policy(&self, text: &str) {
        self.policy.send_replace(Arc::new(parse(text)));
    }

    /// Sends a request and hands back the answer with its body unread.
    pub(super) async fn open(&self, peer: VerifiedPeer, mut request: Request<Full<Bytes>>) -> Response<AnswerBody> {
        request.extensions_mut().insert(peer);
        let answer: Result<_, Infallible> = self.layer.layer(self.upstream.clone()).call(request).await;
        answer.unwrap()
    }

    pub(super) async fn send(&self, peer: VerifiedPeer, request: Request<Full<Bytes>>) -> Answer {
        read(self.open(peer, request).await).await
    }

    /// `billing-bot` posts this body as an older client without session.
    pub(super) async fn post(&self, body: impl Into<Bytes>) -> Answer {
        self.send(self.billing(), legacy(body)).await
    }

    pub(super) fn forwarded(&self) -> usize {
        self.upstream.seen.lock().unwrap().len()
    }

    pub(super) fn last_line(&self) -> Value {
        self.lines.written.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub(super) fn sent_on<T>(&self, take: impl FnOnce(&Seen) -> T) -> T {
        take(self.upstream.seen.lock().unwrap().last().expect("something was forwarded"))
    }
}

pub(super) fn parse(text: &str) -> Policy {
    Policy::parse(text).unwrap()
}

pub(super) async fn read(response: Response<AnswerBody>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// An answer that suits any request with id 1.
pub(super) fn ok() -> Response<AnswerBody> {
    json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
}

pub(super) fn json(text: &str) -> Response<AnswerBody> {
    typed("application/json", text)
}

pub(super) fn events(text: &str) -> Response<AnswerBody> {
    typed("text/event-stream", text)
}

pub(super) fn typed(content_type: &str, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(full(text.to_owned()));
    response.headers_mut().insert("content-type", content_type.parse().unwrap());
    response
}

pub(super) fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

pub(super) fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// A POST without any header of MCP: what the oldest clients send.
pub(super) fn legacy(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    with(body, &[])
}

/// A POST with these headers beside the usual three; an empty value removes one.
pub(super) fn with(body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp")
        .header("host", "ledger.internal:8443")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Full::new(body.into()))
        .unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        if request.headers().contains_key(&name) && !name.as_str().starts_with("mcp-") {
            request.headers_mut().remove(&name);
        }
        if !value.is_empty() {
            request.headers_mut().append(name, value.parse().unwrap());
        }
    }
    request
}

/// A body of 2026-07-28.
pub(super) fn modern_body(method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    request(
        method,
        &format!(r#"{{{params}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}"#),
    )
}

pub(super) const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

/// A tools/call of 2026-07-28 with everything in order.
pub(super) fn modern_call(tool: &str) -> Request<Full<Bytes>> {
    with(
        modern_body("tools/call", &format!(r#""name":"{tool}""#)),
        &[MODERN, ("mcp-method", "tools/call"), ("mcp-name", tool)],
    )
}

pub(super) fn bodiless(method: Method, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = with("", headers);
    *request.method_mut() = method;
    request.headers_mut().remove("content-type");
    request
}
