//! rmcp's HTTP client trait over a pooled mTLS client.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countermark_mtls::{Client, ClientBody, ClientError};
use countermark_oauth::{BoundClient, BoundClientError};
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;

use super::response;
use crate::headers::{PROTOCOL_VERSION, SESSION_ID};

/// An rmcp HTTP client whose every connection is mutual TLS with the server that was named.
///
/// Connections are pooled, so many calls share one handshake; a renewed credential or changed trust takes effect with the
/// next call, without a new transport.
///
/// ```no_run
/// use countermark_mcp::rmcp::MtlsHttpClient;
/// use rmcp::ServiceExt as _;
/// use rmcp::transport::StreamableHttpClientTransport;
/// use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
///
/// # async fn call(client: countermark_mtls::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let config = StreamableHttpClientTransportConfig::with_uri("https://ledger.internal:8443/mcp");
/// let transport = StreamableHttpClientTransport::with_client(MtlsHttpClient::new(client), config);
/// let session = ().serve(transport).await?;
/// let tools = session.list_all_tools().await?;
/// # Ok(())
/// # }
/// ```
///
/// Over a [`BoundClient`] each request also carries a token of the certificate that its connection presents.
#[derive(Clone, Debug)]
pub struct MtlsHttpClient<C = Client> {
    client: C,
}

/// What carries requests: a client with certificates alone, or one with tokens, too.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// Why a request has no answer.
    type Error: std::error::Error + From<ClientError> + Send + Sync + 'static;

    /// Sends a request.
    fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<ClientBody>, Self::Error>> + Send;
}

impl Carrier for Client {
    type Error = ClientError;

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, ClientError> {
        self.request(request).await
    }
}

impl Carrier for BoundClient {
    type Error = BoundClientError;

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, BoundClientError> {
        self.request(request).await
    }
}

type Answer<C, T> = Result<T, StreamableHttpError<<C as Carrier>::Error>>;

impl<C: Carrier> MtlsHttpClient<C> {
    /// Speaks over this client.
    #[must_use]
    pub const fn new(client: C) -> Self {
        Self { client }
    }

    async fn send(&self, call: Call) -> Answer<C, Response<ClientBody>> {
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = call.uri.parse().map_err(|_| unexpected("the URL of the server is not a URL"))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        for (name, value) in call.custom {
            if [ACCEPT, SESSION_ID, LAST_EVENT_ID].contains(&name) && name != PROTOCOL_VERSION {
                return Err(StreamableHttpError::ReservedHeaderConflict(name.to_string()));
            }
            headers.insert(name, value);
        }
        if *request.method() == Method::POST {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, text) in call.own {
            let mut value = HeaderValue::try_from(text).map_err(|_| unexpected("a header holds what no header may"))?;
            value.set_sensitive(name == AUTHORIZATION);
            request.headers_mut().insert(name, value);
        }
        self.client.send(request).await.map_err(StreamableHttpError::Client)
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// One request as rmcp asks for it.
struct Call {
    method: Method,
    uri: Arc<str>,
    body: Bytes,
    custom: HashMap<HeaderName, HeaderValue>,
    own: Vec<(HeaderName, String)>,
}

impl Call {
    fn new(method: Method, uri: Arc<str>, custom: HashMap<HeaderName, HeaderValue>) -> Self {
        Self { method, uri, body: Bytes::new(), custom, own: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: Option<impl Into<String>>) -> Self {
        self.own.extend(value.map(|value| (name, value.into())));
        self
    }
}

fn unexpected<E: std::error::Error + Send + Sync + 'static>(message: &'static str) -> StreamableHttpError<E> {
    StreamableHttpError::UnexpectedServerResponse(message.into())
}

fn bearer(token: Option<String>) -> Option<String> {
    token.map(|token| format!("Bearer {token}"))
}

impl<C: Carrier> StreamableHttpClient for MtlsHttpClient<C> {
    type Error = C::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Answer<C, StreamableHttpPostResponse> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Answer<C, StreamableHttpPostResponse> {
        let mut limits = StreamableHttpResponseLimits::default();
        limits.max_sse_event_size = max_sse_event_size;
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Answer<C, StreamableHttpPostResponse> {
        let in_session = session_id.is_some();
        let mut call = Call::new(Method::POST, uri, custom_headers)
            .with(SESSION_ID, session_id.as_deref())
            .with(AUTHORIZATION, bearer(auth_header));
        call.body = serde_json::to_vec(&message)?.into();
        let answer = self.send(call).await?;
        response::post(answer, &message, in_session, limits).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Answer<C, ()> {
        let call = Call::new(Method::DELETE, uri, custom_headers)
            .with(SESSION_ID, Some(&*session_id))
            .with(AUTHORIZATION, bearer(auth_header));
        let answer = self.send(call).await?;
        match answer.status() {
            // The server does not let clients end sessions: nothing to do.
            StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            status if status.is_success() => Ok(()),
            status => {
                Err(StreamableHttpError::UnexpectedServerResponse(format!("ending the session: HTTP {status}").into()))
            }
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Answer<C, BoxStream<'static, Result<Sse, SseError>>> {
        let limit = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, custom_headers, limit)
            .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Answer<C, BoxStream<'static, Result<Sse, SseError>>> {
        let call = Call::new(Method::GET, uri, custom_headers)
            .with(SESSION_ID, session_id.as_deref())
            .with(LAST_EVENT_ID, last_event_id)
            .with(AUTHORIZATION, bearer(auth_header));
        response::stream(self.send(call).await?, max_sse_event_size)
    }
}
