//! The fixture over Streamable HTTP or stdio.

use std::sync::Arc;

use anyhow::Result;
use rmcp::ServiceExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use crate::fixture::Fixture;

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArguments {
    /// Speak on standard input and output
    #[arg(long)]
    stdio: bool,
    /// Where to listen; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

pub(crate) async fn run(arguments: ServerArguments) -> Result<()> {
    let fixture = Fixture::new()?;
    if arguments.stdio {
        let running = fixture.serve(rmcp::transport::stdio()).await?;
        running.waiting().await?;
        return Ok(());
    }
    let service = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind(&arguments.listen).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let router = axum::Router::new().nest_service("/mcp", service);
    Ok(axum::serve(listener, router).await?)
}
