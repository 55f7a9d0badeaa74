//! Which headers cross, in either direction.

use std::borrow::Cow;

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, ORIGIN,
    RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue};

/// Removes what is of this hop, what speaks of identity, and what the upstream gets from guard alone.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop(name) || is_identity(name.as_str()) || named.iter().any(|other| other == name.as_str()))
        .cloned()
        .collect();
    for name in doomed {
        headers.remove(name);
    }
    for name in [HOST, ORIGIN, CONTENT_LENGTH, EXPECT, ACCEPT_ENCODING] {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Keeps what MCP and HTTP authentication mean, and nothing else.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| !is_for_clients(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

fn is_for_clients(name: &HeaderName) -> bool {
    *name == CONTENT_TYPE
        || *name == CACHE_CONTROL
        || *name == RETRY_AFTER
        || *name == WWW_AUTHENTICATE
        || *name == http::header::ALLOW
        || *name == http::header::CONTENT_ENCODING
        || name.as_str() == "x-accel-buffering"
        || name.as_str().starts_with("mcp-")
}

fn is_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TE
        || *name == TRAILER
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || matches!(name.as_str(), "keep-alive" | "http2-settings")
        || name.as_str().starts_with("proxy-")
}

/// Names that some server believes to speak of the caller, `_` read as `-`.
fn is_identity(name: &str) -> bool {
    let name = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    name == "forwarded"
        || ["client-cert", "x-forwarded-", "x-ssl-", "countermark-"].iter().any(|prefix| name.starts_with(prefix))
}

fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_hop_or_of_identity_goes_on() {
        let mut headers = HeaderMap::new();
        for name in [
            "host",
            "origin",
            "connection",
            "x-secret-hop",
            "keep-alive",
            "te",
            "transfer-encoding",
            "upgrade",
            "proxy-authorization",
            "content-length",
            "client-cert",
            "client_cert",
            "client-cert-chain",
            "x-forwarded-for",
            "x_forwarded_client_cert",
            "forwarded",
            "x-ssl-client-s-dn",
            "countermark-agent",
            "countermark_agent",
            "expect",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x-secret-hop"));
        }
        headers.insert("mcp-session-id", HeaderValue::from_static("s"));
        clean_request(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["mcp-session-id", "accept-encoding"]);
    }

    #[test]
    fn upstreams_set_no_cookies() {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", HeaderValue::from_static("a=b"));
        headers.insert("mcp-session-id", HeaderValue::from_static("s"));
        clean_response(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
