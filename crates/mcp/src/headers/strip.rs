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
    let dashed = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    // A spelling with `_` may be read as the header that was verified: it goes.
    let alias =
        dashed != name && (dashed.starts_with("mcp-") || dashed.starts_with("content-") || dashed == "last-event-id");
    alias || is_unwanted_whole(&dashed) || beginnings(&dashed).iter().any(|beginning| dashed.starts_with(beginning))
}

/// The beginnings that no name may have, of those with its first letter.
fn beginnings(name: &str) -> &'static [&'static str] {
    match name.as_bytes().first() {
        Some(b'c') => &["client-cert", "countermark-"],
        Some(b'p') => &["proxy-"],
        Some(b's') => &["ssl-client-"],
        Some(b'x') => &[
            "x-forwarded",
            "x-ssl",
            "x-client-cert",
            "x-client-dn",
            // By these some servers take a request for another one than was judged, or its sender for somebody.
            "x-http-method",
            "x-method-override",
            "x-original-",
            "x-rewrite-",
            "x-remote-",
        ],
        _ => &[],
    }
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
            | "http2-settings"
            | "keep-alive"
            | "origin"
            | "remote-user"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-real-ip"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_says_who_he_is_or_what_else_he_meant() {
        let mut headers = HeaderMap::new();
        for name in [
            "client-cert",
            "client_cert_chain",
            "x-forwarded-for",
            "x_forwarded_client_cert",
            "x-ssl-client-verify",
            "ssl_client_s_dn",
            "forwarded",
            "countermark_agent",
            "remote_user",
            "x-remote-user",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-method-override",
            "authorization",
            "origin",
            "mcp_name",
            "content_type",
            "x-of-this-hop",
            "proxy-authorization",
            "http2-settings",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close, x-of-this-hop, mcp-method"));
        for name in ["mcp-method", "content-type", "x-request-id"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept-encoding", "content-type", "mcp-method", "x-request-id"]);
    }
}
