//! An HTTP upstream: its own `Host`, no `Origin`, one framing, bounded waits.

use std::time::Duration;

use bytes::Bytes;
use countermark_mtls::Client as TlsClient;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::{Connector, Target};
use super::headers::clean_response;
use super::paced::Paced;
use crate::body::{Body, BoxError};

/// Shorter than the 5 s that Node and uvicorn keep an idle connection, so that none is used as it closes.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// A pooled client of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Kind,
    endpoint: Uri,
    host: HeaderValue,
    times: Times,
}

#[derive(Debug, Clone)]
enum Kind {
    Plain(Box<Client<Connector, Full<Bytes>>>),
    Tls(TlsClient),
}

/// How long an upstream may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) headers: Duration,
    pub(crate) body: Duration,
}

/// What an upstream did instead of answering.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] BoxError),
    #[error("it broke off or answered something that is not HTTP: {0}")]
    Broken(#[source] BoxError),
    #[error("no response headers within {0:?}")]
    Slow(Duration),
    #[error("it answered {0} with neither JSON nor an event stream")]
    NotMcp(StatusCode),
    #[error("it answered in the encoding {0:?}, which was not asked for")]
    Encoded(HeaderValue),
}

impl HttpError {
    /// A word for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken",
            Self::Slow(_) => "slow",
            Self::NotMcp(_) => "not_mcp",
            Self::Encoded(_) => "encoded",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        if matches!(self, Self::Slow(_)) { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
    }

    /// What a client may know.
    pub(crate) fn public(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "the MCP server behind guard cannot be reached",
            Self::Slow(_) => "the MCP server behind guard did not answer in time",
            Self::Broken(_) | Self::NotMcp(_) | Self::Encoded(_) => {
                "the MCP server behind guard answered something that is not MCP"
            }
        }
    }
}

impl Http {
    /// A client over plain connections.
    pub(crate) fn plain(target: Target, endpoint: Uri, times: Times) -> Self {
        let connector = Connector::new(target, times.connect);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .set_host(false)
            .build(connector);
        Self::new(Kind::Plain(Box::new(client)), endpoint, times)
    }

    /// A client over mutual TLS.
    pub(crate) fn tls(client: TlsClient, endpoint: Uri, times: Times) -> Self {
        Self::new(Kind::Tls(client), endpoint, times)
    }

    fn new(client: Kind, endpoint: Uri, times: Times) -> Self {
        let host = endpoint.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        Self { client, endpoint, host: host.unwrap_or_else(|| HeaderValue::from_static("localhost")), times }
    }

    /// Sends a request whose headers are clean, to the endpoint whatever its URI says.
    pub(crate) async fn call(&self, mut request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        *request.uri_mut() = self.endpoint.clone();
        *request.version_mut() = http::Version::HTTP_11;
        if matches!(self.client, Kind::Plain(_)) {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        request.extensions_mut().clear();
        let asks = request.method() == Method::POST;
        let sent = self.send(request.map(Full::new));
        let mut response =
            tokio::time::timeout(self.times.headers, sent).await.map_err(|_| HttpError::Slow(self.times.headers))??;
        if let Some(encoding) = response
            .headers()
            .get(CONTENT_ENCODING)
            .filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(HttpError::Encoded(encoding.clone()));
        }
        let status = response.status();
        let kind = Answer::of(&response);
        let says_nothing = http_body::Body::is_end_stream(response.body());
        let other = asks && status == StatusCode::OK && kind == Answer::Other && !says_nothing;
        let nonsense = status.is_informational() || status.is_redirection() || other;
        if nonsense {
            return Err(HttpError::NotMcp(status));
        }
        clean_response(response.headers_mut());
        response.extensions_mut().clear();
        if kind == Answer::Events {
            return Ok(response);
        }
        let pace = self.times.body;
        Ok(response.map(|body| Paced::new(body, pace).boxed()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, HttpError> {
        match &self.client {
            Kind::Plain(client) => match client.request(request).await {
                Ok(response) => Ok(response.map(|body| body.map_err(BoxError::from).boxed())),
                Err(error) if error.is_connect() => Err(HttpError::Unreachable(error.into())),
                Err(error) => Err(HttpError::Broken(error.into())),
            },
            Kind::Tls(client) => {
                let response = client.request(request).await.map_err(|error| HttpError::Unreachable(error.into()))?;
                Ok(response.map(|body| body.map_err(BoxError::from).boxed()))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Json,
    Events,
    Other,
}

impl Answer {
    fn of<B>(response: &Response<B>) -> Self {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/event-stream" => Self::Events,
            _ => Self::Other,
        }
    }
}
