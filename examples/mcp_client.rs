//! An rmcp client over pooled mutual TLS: one handshake for many calls, and only with the server that was named.
//!
//! `cargo run --all-features --example mcp_client -- IDENTITY-DIR URL SERVER TOOL`

use std::sync::Arc;

use anyhow::{Context as _, Result};
use countermark::credential::watch::{DirectoryConfig, DirectorySource};
use countermark::identity::{SanMap, SystemClock};
use countermark::mcp::rmcp::MtlsHttpClient;
use countermark::mtls::{Client, ClientConfig, ExpectedServer, TrustGenerations};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<()> {
    let [identity, url, server, tool] = <[String; 4]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .ok()
        .context("IDENTITY-DIR URL SERVER TOOL")?;
    let clock = Arc::new(SystemClock);

    // The credential and the trust follow the directory: a renewed certificate needs no restart.
    let source = DirectorySource::spawn(DirectoryConfig::new(identity), clock.clone())?;
    let own = source.credential().borrow().spiffe_id().context("the identity is an SVID")?.trust_domain().clone();
    let (_map, map) = watch::channel(Arc::new(SanMap::empty(own)));
    let trust = TrustGenerations::join(source.trust(), map).watch();
    let expected = ExpectedServer::Name(server);
    let http = Client::new(source.credential(), trust, expected, clock, ClientConfig::default())?;

    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(MtlsHttpClient::new(http.clone()), config);
    let session = ().serve(transport).await?;
    for offered in session.list_all_tools().await? {
        println!("offered: {}", offered.name);
    }
    for _ in 0..3 {
        match session.call_tool(CallToolRequestParams::new(tool.clone())).await {
            Ok(result) => println!("{}", serde_json::to_string(&result.content)?),
            Err(error) => println!("{error}"),
        }
    }
    println!("connections: {}", http.registry().len());
    session.cancel().await?;
    Ok(())
}
