//! An MCP server that knows which agent calls: mutual TLS by the acceptor, policy by the layer, the caller in the tool.
//!
//! `cargo run --all-features --example mcp_server -- IDENTITY-DIR POLICY-FILE`

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use countermark::credential::watch::{DirectoryConfig, DirectorySource};
use countermark::identity::{Identity, SystemClock};
use countermark::mcp::{
    Audit, AuditLine, Authorization, AuthorizeLayer, Caller, CredentialHosts, HostNames, Recording,
};
use countermark::mtls::{Acceptor, AcceptorConfig, MtlsListener, PeerLayer, TrustGenerations, VerifiedPeer};
use countermark::policy::Policy;
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use tokio::sync::watch;
use tower_layer::Layer as _;

#[derive(Clone)]
struct Ledger;

#[tool_router(server_handler)]
impl Ledger {
    #[tool(description = "Reads the balance, for whoever may")]
    fn read_balance(&self, Extension(parts): Extension<Parts>) -> String {
        let Some(caller) = Caller::of(&parts.extensions) else { return "nobody reads anything".to_owned() };
        let rule = caller.permit().map(|permit| permit.rule().to_string());
        format!("{} reads 42 by {}", caller.agent(), rule.unwrap_or_default())
    }

    #[tool(description = "Drops the ledger")]
    fn drop_ledger(&self) -> String {
        "dropped".to_owned()
    }
}

/// The audit: a line of JSON on stderr for every decision.
#[derive(Debug)]
struct Stderr;
impl Audit for Stderr {
    fn record(&self, line: &AuditLine<'_>) -> Recording {
        let written = serde_json::to_string(line).map_err(io::Error::from);
        written.and_then(|line| writeln!(io::stderr(), "{line}")).into()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (identity, policy) = arguments.next().zip(arguments.next()).context("IDENTITY-DIR POLICY-FILE")?;
    let clock = Arc::new(SystemClock);

    // Both follow their files; the senders would publish a changed policy and map.
    let source = DirectorySource::spawn(DirectoryConfig::new(identity), clock.clone())?;
    let policy = Policy::parse(&std::fs::read_to_string(policy)?)?;
    let (_map, map) = watch::channel(Arc::new(policy.map().clone()));
    let (_policy, policy) = watch::channel(Arc::new(policy));

    let credential = source.credential();
    let server = match credential.borrow().leaf().claim(&map.borrow())?.identity {
        Identity::Server(server) => server,
        other => anyhow::bail!("{} is no server", other.spiffe_id()),
    };
    let hosts = Arc::new(CredentialHosts::new(credential.clone(), HostNames::default()));
    let authorize = AuthorizeLayer::new(Authorization::new(server, policy, Arc::new(Stderr), hosts, clock.clone()));
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts(); // the layer has judged Host and Origin
    let mcp = authorize.layer(StreamableHttpService::new(|| Ok(Ledger), sessions, config));

    let trust = TrustGenerations::join(source.trust(), map).watch();
    let acceptor = Acceptor::new(credential, trust, clock, AcceptorConfig::default())?;
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("https://localhost:{}/mcp", tcp.local_addr()?.port());
    let router = axum::Router::new().route_service("/mcp", mcp).layer(PeerLayer::new());
    let service = router.into_make_service_with_connect_info::<VerifiedPeer>();
    Ok(axum::serve(MtlsListener::new(tcp, acceptor), service).await?)
}
