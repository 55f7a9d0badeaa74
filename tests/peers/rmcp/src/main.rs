//! What a third party writes with rmcp alone: a server for the conformance scenarios and a client that reports what it saw.

#![expect(deprecated, reason = "the older era's conformance asks for logging and sampling")]
#![expect(clippy::indexing_slicing, reason = "indexing a JSON value cannot panic")]

mod client;
mod fixture;
mod server;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve the fixture
    Server(server::ServerArguments),
    /// List tools, call two, print what came back as one line of JSON
    Client(client::ClientArguments),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().role {
        Role::Server(arguments) => server::run(arguments).await,
        Role::Client(arguments) => client::run(arguments).await,
    }
}
