//! What rmcp is told about an answer.

use bytes::Bytes;
use countermark_mtls::{ClientBody, ClientError};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rmcp::model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, SseError, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::{Sse, SseStream};
use thiserror::Error;

use crate::filter::sse::Decoder;
use crate::headers::SESSION_ID;

type Answer<T, E> = Result<T, StreamableHttpError<E>>;

/// Why a request has no answer, as far as its body can say.
pub(super) trait Failure: std::error::Error + From<ClientError> + Send + Sync + 'static {}

impl<E: std::error::Error + From<ClientError> + Send + Sync + 'static> Failure for E {}

/// The answer to a POST.
pub(super) async fn post<E: Failure>(
    response: Response<ClientBody>,
    message: &ClientJsonRpcMessage,
    in_session: bool,
    limits: StreamableHttpResponseLimits,
) -> Answer<StreamableHttpPostResponse, E> {
    let status = response.status();
    refuse_challenge(&response)?;
    if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
        return Ok(StreamableHttpPostResponse::Accepted);
    }
    if status == StatusCode::NOT_FOUND && in_session {
        return Err(StreamableHttpError::SessionExpired);
    }
    let session = text(response.headers(), &SESSION_ID);
    let wants_answer = matches!(message, ClientJsonRpcMessage::Request(_));
    match media(response.headers()).as_deref() {
        Some("text/event-stream") if status.is_success() => {
            let events = events(response.into_body(), limits.max_sse_event_size);
            Ok(StreamableHttpPostResponse::Sse(events, session))
        }
        Some("application/json") => {
            let retry_after = text(response.headers(), &RETRY_AFTER);
            let body = read(response.into_body(), limits.max_json_response_size).await?;
            match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
                Ok(answer) if status.is_success() => Ok(StreamableHttpPostResponse::Json(answer, session)),
                Ok(answer @ ServerJsonRpcMessage::Error(_)) => Ok(rejected(answer, message, in_session, session)),
                Err(_) if status.is_success() && !wants_answer => Ok(StreamableHttpPostResponse::Accepted),
                Err(error) if status.is_success() => Err(error.into()),
                _ => Err(failed(status, retry_after)),
            }
        }
        _ if status.is_success() && !wants_answer => Ok(StreamableHttpPostResponse::Accepted),
        other if status.is_success() => Err(StreamableHttpError::UnexpectedContentType(other.map(str::to_owned))),
        _ if status.is_client_error() && !in_session && asks_for_versions(message) => {
            let error = ErrorData::invalid_request(format!("server/discover is refused with HTTP {status}"), None);
            Ok(rejected(ServerJsonRpcMessage::error(error, None), message, in_session, session))
        }
        _ => Err(failed(status, text(response.headers(), &RETRY_AFTER))),
    }
}

/// The stream that answers a GET.
pub(super) fn stream<E: Failure>(
    response: Response<ClientBody>,
    max_event: usize,
) -> Answer<BoxStream<'static, Result<Sse, SseError>>, E> {
    let status = response.status();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Err(StreamableHttpError::ServerDoesNotSupportSse);
    }
    refuse_challenge(&response)?;
    if !status.is_success() {
        return Err(failed(status, text(response.headers(), &RETRY_AFTER)));
    }
    match media(response.headers()).as_deref() {
        Some("text/event-stream") => Ok(events(response.into_body(), max_event)),
        other => Err(StreamableHttpError::UnexpectedContentType(other.map(str::to_owned))),
    }
}

/// A JSON-RPC error, with the id of the request where the server could not tell it: whoever refuses before reading the
/// body cannot repeat the id, and rmcp falls back to `initialize` only on an error that answers its `server/discover`.
fn rejected(
    answer: ServerJsonRpcMessage,
    message: &ClientJsonRpcMessage,
    in_session: bool,
    session: Option<String>,
) -> StreamableHttpPostResponse {
    match (answer, message) {
        (ServerJsonRpcMessage::Error(error), ClientJsonRpcMessage::Request(request))
            if !in_session && asks_for_versions(message) =>
        {
            let answer = ServerJsonRpcMessage::error(error.error, Some(request.id.clone()));
            StreamableHttpPostResponse::Json(answer, session)
        }
        (answer, _) => StreamableHttpPostResponse::Json(answer, session),
    }
}

fn asks_for_versions(message: &ClientJsonRpcMessage) -> bool {
    use rmcp::model::ClientRequest::DiscoverRequest;
    matches!(message, ClientJsonRpcMessage::Request(request) if matches!(request.request, DiscoverRequest(_)))
}

fn refuse_challenge<E: Failure>(response: &Response<ClientBody>) -> Answer<(), E> {
    let challenge = || text(response.headers(), &WWW_AUTHENTICATE);
    match response.status() {
        StatusCode::UNAUTHORIZED => {
            challenge().map_or(Ok(()), |text| Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(text))))
        }
        StatusCode::FORBIDDEN => challenge().map_or(Ok(()), |text| {
            let scope = scope(&text);
            Err(StreamableHttpError::InsufficientScope(InsufficientScopeError::new(text, scope)))
        }),
        _ => Ok(()),
    }
}

/// The `scope` parameter of a challenge.
fn scope(challenge: &str) -> Option<String> {
    let (_, value) = challenge.split_once("scope=")?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split([',', ' ']).next(),
    };
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

fn failed<E: Failure>(status: StatusCode, retry_after: Option<String>) -> StreamableHttpError<E> {
    HttpStatusError::new(status.as_u16(), retry_after).into()
}

fn media(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, &CONTENT_TYPE)?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn read<E: Failure>(body: ClientBody, limit: usize) -> Answer<Bytes, E> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(StreamableHttpError::ResponseBodyTooLarge { max_size: limit })
        }
        Err(error) => Err(match error.downcast::<ClientError>() {
            Ok(error) => StreamableHttpError::Client((*error).into()),
            Err(other) => StreamableHttpError::Io(std::io::Error::other(other)),
        }),
    }
}

/// Why an event stream broke off.
#[derive(Debug, Error)]
enum EventError {
    #[error(transparent)]
    Transport(#[from] ClientError),
    #[error("an event is larger than {limit} bytes")]
    TooLarge { limit: usize },
}

/// The events of a stream, each bounded before it is parsed.
fn events(body: ClientBody, limit: usize) -> BoxStream<'static, Result<Sse, SseError>> {
    let whole = stream::unfold(Some((body, Decoder::new(limit))), move |state| async move {
        let (mut body, mut decoder) = state?;
        loop {
            match decoder.next() {
                Ok(Some(event)) => return Some((Ok(event.raw), Some((body, decoder)))),
                Ok(None) => {}
                Err(_) => return Some((Err(EventError::TooLarge { limit }), None)),
            }
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        decoder.push(data);
                    }
                }
                Err(error) => return Some((Err(error.into()), None)),
            }
        }
    });
    SseStream::from_bytes_stream(Box::pin(whole)).boxed()
}
