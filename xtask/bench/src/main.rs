//! The other ends of `cargo xtask bench`, each a process of its own on one thread.

mod limit;
mod load;
mod tls;
mod upstream;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, Subcommand)]
enum End {
    /// An MCP server that answers every call alike
    Upstream,
    /// A bare hyper + tokio-rustls proxy: client certificate required, nothing else looked at
    Limit(limit::LimitArguments),
    /// Clients that keep a server busy, and count
    Load(load::LoadArguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().end {
        End::Upstream => upstream::run().await,
        End::Limit(arguments) => limit::run(arguments).await,
        End::Load(arguments) => load::run(arguments).await,
    }
}
