//! What never goes on: headers by which somebody could claim to be somebody, and those that belong to one connection.

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Removes from an inbound request what the upstream must not believe or see.
///
/// `_` is read as `-`, since many servers do. The body is forwarded with a framing of its own.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_unwanted(name.as_str()) || named.contains(*name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
    // A list that is encoded cannot be filtered.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nobody may remove by `Connection` what has been verified and is relied on.
        .filter(|name: &HeaderName| !name.as_str().starts_with("mcp-") && name != http::header::CONTENT_TYPE)
        .collect()
}

fn is_unwanted(name: &str) -> bool {
    const BEGINNING: [&str; 7] =
        ["client-cert", "x-forwarded", "x-ssl", "x-client-cert", "x-client-dn", "countermark-", "ssl-client-"];
    let dashed = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    // A spelling with `_` may be read as the header that was verified: it goes.
    let alias =
        dashed != name && (dashed.starts_with("mcp-") || dashed.starts_with("content-") || dashed == "last-event-id");
    alias || is_unwanted_whole(&dashed) || BEGINNING.iter().any(|beginning| dashed.starts_with(beginning))
}

fn is_unwanted_whole(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "expect"
            | "forwarded"
            | "keep-alive"
            | "origin"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-real-ip"
    )
}
