//! Requests as bytes on a wire, for the TLS client that has nothing of ours in it.

use std::net::SocketAddr;

use serde_json::json;

use crate::rpc;

/// The era with sessions, whose GET is a stream that stays open.
const OLDER: &str = "2025-11-25";

/// `tools/list`, stateless.
pub(super) fn list(address: SocketAddr) -> Vec<u8> {
    let url = format!("https://localhost:{}/mcp", address.port());
    let Ok(request) = rpc::request(&url, 1, "tools/list", json!({})) else { return Vec::new() };
    let headers = request.headers().iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    bytes("POST", address, &headers, request.body())
}

/// `initialize` of the era with sessions.
pub(super) fn initialize(address: SocketAddr) -> Vec<u8> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": OLDER, "capabilities": {},
        "clientInfo": {"name": "countermark-quickstart", "version": env!("CARGO_PKG_VERSION")},
    }});
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    bytes("POST", address, &headers, body.to_string().as_bytes())
}

/// The stream of a session, on which the server may speak at any time.
pub(super) fn stream(address: SocketAddr, session: &str) -> Vec<u8> {
    let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", OLDER), ("mcp-session-id", session)];
    bytes("GET", address, &headers, &[])
}

/// The first line of an answer.
pub(super) fn status(head: &str) -> &str {
    head.lines().next().unwrap_or_default()
}

/// A header of an answer.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn bytes(method: &str, address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} /mcp HTTP/1.1\r\nhost: localhost:{}\r\n", address.port());
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        bytes.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut bytes = (bytes + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = "HTTP/1.1 200 OK\r\nMcp-Session-Id: abc\r\nx: y";
        assert_eq!((status(head), header(head, "mcp-session-id")), ("HTTP/1.1 200 OK", Some("abc")));
        assert_eq!(header(head, "z"), None);
    }

    #[test]
    fn a_body_has_its_length() {
        let text = String::from_utf8(list("127.0.0.1:1".parse().unwrap())).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(header(head, "content-length"), Some(body.len().to_string().as_str()));
    }
}
