//! Answers of our own: JSON-RPC errors with the HTTP status that fits, and redirections of the lost.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::value::RawValue;

use crate::body::{self, Body};
use crate::json::{Object, raw};

/// JSON-RPC: the server's own fault.
pub(crate) const INTERNAL: i64 = -32603;
/// JSON-RPC: the message is not one that this server takes.
pub(crate) const INVALID: i64 = -32600;
/// JSON-RPC: no such method.
pub(crate) const NO_METHOD: i64 = -32601;

/// A JSON-RPC error on one line; without an id it answers `null`.
pub(crate) fn error_line(id: Option<&RawValue>, code: i64, message: &str) -> String {
    let mut error = Object::default();
    error.set("code", raw(&code));
    error.set("message", raw(message));
    let mut answer = Object::default();
    answer.set("jsonrpc", raw("2.0"));
    answer.set("id", id.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned));
    answer.set("error", error.raw());
    answer.line()
}

/// A JSON-RPC error as an HTTP response.
pub(crate) fn error(status: StatusCode, id: Option<&RawValue>, code: i64, message: &str) -> Response<Body> {
    json(status, error_line(id, code, message))
}

/// JSON as an HTTP response that nobody may keep.
pub(crate) fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    typed(status, "application/json", body::full(text))
}

/// A line of text as an HTTP response.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body::full(text))
}

/// An event stream as an HTTP response.
pub(crate) fn events(body: Body) -> Response<Body> {
    let mut response = typed(StatusCode::OK, "text/event-stream", body);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A status with nothing more to say.
pub(crate) fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
