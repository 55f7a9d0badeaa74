//! The other ends of `cargo xtask bench`, each a process of its own on one thread.

mod issue;
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
    /// Clients that ask an authority for certificates, and count
    Issue(issue::IssueArguments),
    /// Clients that keep a server busy, and count
    Load(load::LoadArguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().end {
        End::Issue(arguments) => issue::run(arguments).await,
        End::Upstream => upstream::run().await,
        End::Limit(arguments) => limit::run(arguments).await,
        End::Load(arguments) => load::run(arguments).await,
    }
}
