//! MCP as any client writes it (2026-07-28: stateless, one POST for each call).

use http::{Method, Request, header};
use serde_json::{Value, json};

const VERSION: &str = "2026-07-28";

/// A JSON-RPC request for the guard's endpoint.
pub(crate) fn request(url: &str, id: u64, method: &str, params: Value) -> Result<Request<Vec<u8>>, http::Error> {
    let name = params.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut params = params;
    if let Some(params) = params.as_object_mut() {
        params.insert(
            "_meta".to_owned(),
            json!({
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientInfo": {"name": "countermark-quickstart", "version": env!("CARGO_PKG_VERSION")},
                "io.modelcontextprotocol/clientCapabilities": {},
            }),
        );
    }
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    request.body(body.to_string().into_bytes())
}

/// The call of a tool.
pub(crate) fn call(url: &str, id: u64, tool: &str, arguments: Value) -> Result<Request<Vec<u8>>, http::Error> {
    request(url, id, "tools/call", json!({"name": tool, "arguments": arguments}))
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The `result`.
    Result(Value),
    /// The `error`.
    Error { code: i64, message: String, data: Value },
}

/// Reads the answer to `id` out of a JSON body or an event stream.
pub(crate) fn answer(id: u64, body: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(body).ok()?;
    let messages = serde_json::from_str::<Value>(text).map_or_else(
        |_| {
            text.lines()
                .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim_start()).ok())
                .collect()
        },
        |message| vec![message],
    );
    let message = messages.into_iter().find(|message: &Value| message.get("id") == Some(&json!(id)))?;
    if let Some(result) = message.get("result") {
        return Some(Answer::Result(result.clone()));
    }
    let error = message.get("error")?;
    Some(Answer::Error {
        code: error.get("code")?.as_i64()?,
        message: error.get("message")?.as_str()?.to_owned(),
        data: error.get("data").cloned().unwrap_or_default(),
    })
}

/// The names of a `tools/list` result, sorted.
pub(crate) fn tool_names(result: &Value) -> Vec<String> {
    let tools = result.get("tools").and_then(Value::as_array);
    let mut names: Vec<String> =
        tools.into_iter().flatten().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_event_streams_are_read_alike() {
        let message = r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#;
        let expected = Some(Answer::Result(json!({"a": 1})));
        assert_eq!(answer(7, message.as_bytes()), expected);
        assert_eq!(answer(7, format!("event: message\ndata: {message}\n\n").as_bytes()), expected);
        assert_eq!(answer(8, message.as_bytes()), None);
        assert_eq!(answer(7, b"<html>"), None);
    }

    #[test]
    fn the_headers_say_what_the_body_says() {
        let request = call("https://localhost/mcp", 1, "read_balance", json!({})).unwrap();
        assert_eq!(request.headers()["mcp-name"], "read_balance");
        assert_eq!(request.headers()["mcp-method"], "tools/call");
    }
}
