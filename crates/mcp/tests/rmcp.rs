//! An rmcp client over a pooled mTLS client, to a served layer.

#![cfg(feature = "rmcp")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop there")]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use countermark_identity::{Clock, ServerId};
use countermark_mcp::rmcp::MtlsHttpClient;
use countermark_mcp::{Audit, AuditLine, Authorization, AuthorizeLayer, HostNames, Recording};
use countermark_mtls::{Acceptor, AcceptorConfig, Client, ClientConfig, ExpectedServer, ServeConfig, serve};
use countermark_policy::Policy;
use countermark_testkit::{TestCa, TestSource};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

const POLICY: &str = r#"
version = 1
trust_domain = "agents.internal"
[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_balance"]
"#;

#[derive(Debug)]
struct Unwritten;

impl Audit for Unwritten {
    fn record(&self, _: &AuditLine<'_>) -> Recording {
        Ok(()).into()
    }
}

/// An MCP server of the older era: lists as JSON, calls as events.
async fn server(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return Ok(Response::builder().status(405).body(Full::default()).unwrap());
    };
    let id = &message["id"];
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "ledger", "version": "1" }
        }),
        Some("tools/list") => json!({ "tools": [
            { "name": "read_balance", "inputSchema": { "type": "object" } },
            { "name": "drop_ledger", "inputSchema": { "type": "object" } }
        ] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "42" }] }),
        _ => return Ok(Response::builder().status(202).body(Full::default()).unwrap()),
    };
    let text = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    let (media, text) = match message["method"].as_str() {
        Some("tools/call") => ("text/event-stream", format!("event: message\ndata: {text}\n\n")),
        _ => ("application/json", text),
    };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert("content-type", media.parse().unwrap());
    if message["method"] == "initialize" {
        response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
    }
    Ok(response)
}

#[tokio::test]
async fn an_rmcp_client_lists_calls_and_is_denied_over_one_connection() {
    let ca = TestCa::new("agents.internal");
    let clock: Arc<dyn Clock> = Arc::new(ca.clock().clone());
    let trust = ca.trusted();
    let (agent, ledger) =
        (TestSource::new(ca.agent("billing-bot")), ca.mint(&ca.server_spec("ledger").dns("localhost")));
    let ledger = TestSource::new(ledger.credential());
    let (_policy, policy) = watch::channel(Arc::new(Policy::parse(POLICY).unwrap()));
    let layer = AuthorizeLayer::new(Authorization::new(
        ServerId::new(ca.trust_domain(), "ledger").unwrap(),
        policy,
        Arc::new(Unwritten),
        Arc::new(HostNames::new(["localhost"])),
        Arc::clone(&clock),
    ));
    let service = layer.layer(tower::service_fn(server));
    use countermark_credential::Source as _;
    let acceptor =
        Acceptor::new(ledger.watch(), trust.generations(), Arc::clone(&clock), AcceptorConfig::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    let registry = acceptor.registry().clone();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, acceptor, service, ServeConfig::default(), shutdown.clone()));

    let expected = ExpectedServer::Name("ledger".to_owned());
    let http = Client::new(agent.watch(), trust.generations(), expected, clock, ClientConfig::default()).unwrap();
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(MtlsHttpClient::new(http), config);
    let session = ().serve(transport).await.expect("the session");

    let tools = session.list_all_tools().await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["read_balance"]);
    for _ in 0..3 {
        let result = session.call_tool(CallToolRequestParams::new("read_balance")).await.unwrap();
        assert!(serde_json::to_string(&result.content).unwrap().contains("42"));
    }
    let denied = session.call_tool(CallToolRequestParams::new("drop_ledger")).await.unwrap_err();
    assert!(denied.to_string().contains("`drop_ledger` is not available to `billing-bot` on `ledger`"), "{denied}");
    assert_eq!(registry.len(), 1, "one handshake for all of it");
    session.cancel().await.unwrap();
    shutdown.cancel();
    drop(serving);
}
