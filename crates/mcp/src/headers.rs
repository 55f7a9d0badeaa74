//! The rules for the headers of both protocol eras. The body decides; headers are verified against it.

mod address;
mod mirror;
mod sentinel;
mod strip;

pub(crate) use address::{verify_host, verify_origin};
pub(crate) use mirror::{bodiless_version, verify_mirrored};
pub(crate) use sentinel::decode;
pub(crate) use strip::strip;

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::refusal::{Refusal, code};

/// `Mcp-Session-Id`, of the older era.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`.
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`.
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What the names of mirrored arguments begin with.
pub(crate) const PARAM_PREFIX: &str = "mcp-param-";

/// The one value of a header, as text; a header that stands twice is refused.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::mismatch(format!("header {name} stands more than once")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Refusal::mismatch(format!("header {name} holds bytes that are not visible ASCII"))),
    }
}

/// Whether the body is what it says: JSON in UTF-8, and not encoded.
pub(crate) fn verify_content(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::INVALID_REQUEST, message));
    let content_type = single(headers, &CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return refuse("Content-Type must be application/json");
    }
    let foreign = parts.filter_map(|part| part.split_once('=')).any(|(name, value)| {
        name.trim_end().eq_ignore_ascii_case("charset") && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if foreign {
        return refuse("the charset of JSON is utf-8");
    }
    match single(headers, &CONTENT_ENCODING)? {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            refuse("Content-Encoding is not accepted: send the body plain")
        }
        _ => Ok(()),
    }
}

/// Whether the answer may be JSON or an event stream.
pub(crate) fn verify_accept(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .peekable();
    let known = ["application/json", "text/event-stream", "*/*", "application/*", "text/*"];
    if ranges.peek().is_none() || ranges.any(|range| known.iter().any(|known| range.eq_ignore_ascii_case(known))) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::NOT_ACCEPTABLE,
        code::INVALID_REQUEST,
        "Accept must admit application/json and text/event-stream",
    ))
}
