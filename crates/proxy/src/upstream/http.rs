//! An HTTP upstream: its own `Host`, no `Origin`, one framing, bounded waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countermark_mtls::{Client as TlsClient, ClientBody};
use countermark_oauth::TokenError;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use super::connector::{Connector, Target};
use super::headers::clean_response;
use super::paced::Paced;
use super::pool::{Driven, Failure, Pool};
use crate::body::BoxError;

/// A pooled client of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Kind,
    /// As the client wants it: whole for TLS, the path alone for a connection that is there.
    endpoint: Uri,
    host: HeaderValue,
    times: Times,
}

#[derive(Debug, Clone)]
enum Kind {
    Plain(Pool),
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
    #[error("the caller's token cannot be exchanged for one of its own: {0}")]
    Token(#[source] TokenError),
    #[error("it refuses the token that guard got for it, and a fresh one, too")]
    TokenRefused,
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
            Self::Token(_) => "token",
            Self::TokenRefused => "token_refused",
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
            Self::Token(_) | Self::TokenRefused => "guard has no token that the MCP server behind it takes",
            Self::Broken(_) | Self::NotMcp(_) | Self::Encoded(_) => {
                "the MCP server behind guard answered something that is not MCP"
            }
        }
    }
}

impl Http {
    /// A client over plain connections.
    pub(crate) fn plain(target: Target, endpoint: Uri, times: Times) -> Self {
        let client = Kind::Plain(Pool::new(Connector::new(target, times.connect)));
        let host = host(&endpoint);
        let path = endpoint.into_parts().path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from);
        Self { client, endpoint: path, host, times }
    }

    /// A client over mutual TLS.
    pub(crate) fn tls(client: TlsClient, endpoint: Uri, times: Times) -> Self {
        Self { client: Kind::Tls(client), host: host(&endpoint), endpoint, times }
    }

    /// The same endpoint over connections of this client, where it is reached over mutual TLS.
    pub(crate) fn over<E>(&self, client: impl FnOnce() -> Result<TlsClient, E>) -> Result<Self, E> {
        let client = match &self.client {
            Kind::Plain(pool) => Kind::Plain(pool.clone()),
            Kind::Tls(_) => Kind::Tls(client()?),
        };
        Ok(Self { client, ..self.clone() })
    }

    /// Sends a request whose headers are clean, to the endpoint whatever its URI says.
    pub(crate) async fn call(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Paced<HttpBody>>, HttpError> {
        *request.uri_mut() = self.endpoint.clone();
        *request.version_mut() = http::Version::HTTP_11;
        match self.client {
            Kind::Plain(_) => request.headers_mut().insert(HOST, self.host.clone()),
            // Its client says it, as its protocol has it.
            Kind::Tls(_) => request.headers_mut().remove(HOST),
        };
        request.extensions_mut().clear();
        let asks = request.method() == Method::POST;
        let sent = self.send(request);
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
        let pace = (kind != Answer::Events).then_some(self.times.body);
        Ok(response.map(|body| Paced::new(body, pace)))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<HttpBody>, HttpError> {
        match &self.client {
            Kind::Plain(pool) => match pool.request(request).await {
                Ok(response) => Ok(response.map(HttpBody::Plain)),
                Err(Failure::Connect(error)) => Err(HttpError::Unreachable(error.into())),
                Err(Failure::Broken(error)) => Err(HttpError::Broken(error.into())),
            },
            Kind::Tls(client) => {
                let response = Box::pin(client.request(request)).await;
                let response = response.map_err(|error| HttpError::Unreachable(error.into()))?;
                Ok(response.map(HttpBody::Tls))
            }
        }
    }
}

fn host(endpoint: &Uri) -> HeaderValue {
    let host = endpoint.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    host.unwrap_or_else(|| HeaderValue::from_static("localhost"))
}

/// The body of an answer, as either client gives it.
#[derive(Debug)]
pub(crate) enum HttpBody {
    Plain(Driven),
    Tls(ClientBody),
}

impl http_body::Body for HttpBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Plain(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Tls(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Tls(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Tls(body) => body.size_hint(),
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
        let essence = kind.split(';').next().unwrap_or_default().trim();
        match () {
            () if essence.eq_ignore_ascii_case("application/json") => Self::Json,
            () if essence.eq_ignore_ascii_case("text/event-stream") => Self::Events,
            () => Self::Other,
        }
    }
}
