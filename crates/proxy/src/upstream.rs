//! What stands behind guard, as a service that is reached only by permitted calls.

mod connector;
pub(crate) mod exchange;
pub(crate) mod headers;
pub(crate) mod http;
mod paced;
mod pool;
pub(crate) mod stdio;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::uri::Scheme;
use ::http::{HeaderValue, Request, Response, StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use countermark_identity::TrustDomain;
use countermark_mcp::Caller;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

pub(crate) use self::connector::Target;
use self::exchange::Exchange;
use self::http::{Http, HttpBody, HttpError};
use self::paced::Paced;
use self::stdio::Stdio;
use crate::answer;
use crate::body::{Body, BoxError};
use crate::guard::Metrics;
use crate::json::Object;

/// What stands behind guard.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    /// Whether the upstream learns who calls, and the trust domain whose agents go by their bare name.
    tells: Option<TrustDomain>,
    metrics: Arc<Metrics>,
}

/// The kinds of upstream.
#[derive(Debug)]
pub(crate) enum Server {
    Http(Box<Http>),
    /// HTTP, with tokens that callers' are exchanged for.
    Exchanging(Box<Exchange>),
    Stdio(Stdio),
}

impl Behind {
    pub(crate) fn new(server: Server, tells: Option<TrustDomain>, metrics: Arc<Metrics>) -> Self {
        Self { inner: Arc::new(Inner { server, tells, metrics }) }
    }

    /// Processes that run, if it is a stdio server.
    pub(crate) fn processes(&self) -> usize {
        match &self.inner.server {
            Server::Stdio(stdio) => stdio.running(),
            Server::Http(_) | Server::Exchanging(_) => 0,
        }
    }

    /// Ends what guard started, once no request comes any more.
    pub(crate) async fn end(&self) {
        if let Server::Stdio(stdio) = &self.inner.server {
            stdio.end().await;
        }
    }
}

impl Service<Request<Full<Bytes>>> for Behind {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.call(request).await) })
    }
}

impl Inner {
    async fn call(&self, request: Request<Full<Bytes>>) -> Response<AnswerBody> {
        let Some(caller) = request.extensions().get::<Caller>() else {
            // Only the layer in front makes callers, and strips what nobody may claim; without it nothing goes on.
            return answer::status(StatusCode::FORBIDDEN).map(AnswerBody::Own);
        };
        match &self.server {
            Server::Stdio(stdio) => {
                let agent = caller.agent().spiffe_id().to_string();
                let (parts, body) = request.into_parts();
                let call = stdio.call(&agent, Request::from_parts(parts, whole(body).await));
                Box::pin(call).await.map(AnswerBody::Own)
            }
            Server::Http(http) => self.forward(request, |request| http.call(request)).await,
            Server::Exchanging(exchange) => self.forward(request, |request| Box::pin(exchange.call(request))).await,
        }
    }

    async fn forward(
        &self,
        mut request: Request<Full<Bytes>>,
        call: impl AsyncFnOnce(Request<Full<Bytes>>) -> Result<Response<Paced<HttpBody>>, HttpError>,
    ) -> Response<AnswerBody> {
        if let Some(own) = &self.tells {
            tell(&mut request, own);
        }
        let body = request.body().clone();
        match call(request).await {
            Ok(response) => response.map(AnswerBody::Http),
            Err(error) => {
                tracing::warn!(%error, kind = error.kind(), "the upstream failed");
                self.metrics.upstream_failed(error.kind());
                let body = whole(body).await;
                let message = std::str::from_utf8(&body).ok().and_then(|text| Object::parse(text).ok());
                let id = message.as_ref().filter(|message| message.has("method")).and_then(|message| message.get("id"));
                answer::error(error.status(), id, answer::INTERNAL, error.public()).map(AnswerBody::Own)
            }
        }
    }
}

async fn whole(body: Full<Bytes>) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// The body of an answer: an upstream's, or one of our own.
pub(crate) enum AnswerBody {
    Http(Paced<HttpBody>),
    Own(Body),
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Http(body) => Pin::new(body).poll_frame(context),
            Self::Own(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

/// Says who calls: [RFC 9440 §2.2](https://www.rfc-editor.org/rfc/rfc9440#section-2.2) and a plain name.
fn tell(request: &mut Request<Full<Bytes>>, own: &TrustDomain) {
    let Some(caller) = Caller::of(request.extensions()) else { return };
    let agent = caller.agent();
    let name = if agent.trust_domain() == own { agent.name().to_owned() } else { agent.spiffe_id().to_string() };
    let headers = request.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert("countermark-agent", name);
    }
    let leaf = caller.peer().chain().first().map(|leaf| format!(":{}:", BASE64_STANDARD.encode(leaf)));
    if let Some(Ok(leaf)) = leaf.map(|leaf| HeaderValue::from_str(&leaf)) {
        headers.insert("client-cert", leaf);
    }
}

/// Reads an upstream's URL: plain HTTP to loopback alone unless `danger`, else HTTPS.
pub(crate) fn endpoint(url: &str, danger: bool) -> Result<(Uri, Option<Target>), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL; it looks like http://127.0.0.1:3000/mcp")?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or("it names no host; it looks like http://127.0.0.1:3000/mcp")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL with a user name or password is not taken");
    }
    if uri.query().is_some() {
        return Err("a query is not taken: clients could not reach it");
    }
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Ok((uri, None));
    }
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err("only http:// and https:// are taken");
    }
    let name = host.trim_matches(['[', ']']).to_owned();
    let loopback =
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback && !danger {
        return Err(
            "plain HTTP is taken to loopback alone; use https:// with a certificate of this authority, or --danger-plaintext-upstream",
        );
    }
    let port = uri.port_u16().unwrap_or(80);
    Ok((uri, Some(Target::Tcp { host: name, port, anywhere: danger && !loopback })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_goes_to_loopback_alone() {
        for url in ["http://127.0.0.1:3000/mcp", "http://localhost/mcp", "http://[::1]:3000/mcp"] {
            assert!(matches!(endpoint(url, false), Ok((_, Some(Target::Tcp { anywhere: false, .. })))), "{url}");
        }
        for url in [
            "http://10.0.0.1/mcp",
            "http://localhost.evil.example/mcp",
            "http://127.0.0.1.evil.example/",
            "ftp://localhost/",
            "mcp",
        ] {
            assert!(endpoint(url, false).is_err(), "{url}");
        }
        assert!(matches!(endpoint("http://10.0.0.1/mcp", true), Ok((_, Some(Target::Tcp { anywhere: true, .. })))));
        assert!(matches!(endpoint("https://ledger.internal/mcp", false), Ok((_, None))));
        assert!(endpoint("http://user:secret@127.0.0.1/mcp", false).is_err());
    }
}
