//! What the layer itself answers: JSON-RPC errors, always as JSON.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::{BoxError, RequestId};

/// The body of every response of the layer.
pub(super) type AnswerBody = BoxBody<Bytes, BoxError>;

/// The JSON-RPC error for a refusal; `id` is null where no request was understood.
pub(super) fn error(refusal: &Refusal, id: Option<&RequestId<'_>>) -> Response<AnswerBody> {
    let mut response = Response::new(full(error_text(refusal, id)));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(challenge) = &refusal.challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.to_value());
    }
    match refusal.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    response
}

/// A document that is not JSON-RPC.
pub(super) fn document(value: &impl serde::Serialize) -> Response<AnswerBody> {
    let mut response = Response::new(full(serde_json::to_vec(value).unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same as text: the data of an event.
pub(super) fn error_text(refusal: &Refusal, id: Option<&RequestId<'_>>) -> String {
    let id = match id {
        None => Value::Null,
        Some(RequestId::Number(number)) => Value::from(*number),
        Some(RequestId::String(text)) => Value::from(text.as_ref()),
    };
    let mut error = json!({ "code": refusal.code, "message": refusal.message });
    if let (Some(data), Some(object)) = (&refusal.data, error.as_object_mut()) {
        object.insert("data".to_owned(), data.clone());
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

pub(super) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}
