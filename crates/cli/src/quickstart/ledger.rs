//! The MCP server of the quickstart: a small ledger, written with rmcp as anyone would write it. It
//! knows nothing of certificates; guard stands before it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rmcp::{
    ServerHandler,
    handler::server::wrapper::{Json, Parameters},
    model::{Implementation, ServerCapabilities, ServerConfig},
    schemars::{self, JsonSchema},
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::{Explain, Outcome};

/// Serves a fresh ledger on a loopback port of the kernel's choice until `shutdown`.
pub(super) async fn serve(shutdown: CancellationToken) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .or_failed("cannot listen on loopback", "check that 127.0.0.1 is up and not filtered")?;
    let address = listener.local_addr()?;
    let ledger = Ledger::default();
    let service = StreamableHttpService::new(
        move || Ok(ledger.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_allowed_hosts([address.to_string()])
            .enforce_origin_validation()
            .with_cancellation_token(shutdown.child_token()),
    );
    let router = axum::Router::new().nest_service("/mcp", service);
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the ledger stopped");
        }
    });
    Ok(address)
}

#[derive(Debug, Clone, Default)]
struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// One line of the ledger.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Entry {
    /// Its number, from 1
    number: u64,
    /// What it was for
    memo: String,
    /// Whole cents; negative for money that leaves
    cents: i64,
}

/// What `post_entry` takes.
#[derive(Debug, Deserialize, JsonSchema)]
struct PostEntry {
    /// What it is for
    memo: String,
    /// Whole cents; negative for money that leaves
    cents: i64,
}

/// What `read_balance` returns.
#[derive(Debug, Serialize, JsonSchema)]
struct Balance {
    /// The sum of all entries in whole cents
    cents: i64,
}

/// What `list_entries` returns.
#[derive(Debug, Serialize, JsonSchema)]
struct Entries {
    /// Oldest first
    entries: Vec<Entry>,
}

#[tool_router]
impl Ledger {
    #[tool(description = "The balance of the ledger in cents", annotations(read_only_hint = true))]
    async fn read_balance(&self) -> Json<Balance> {
        Json(Balance { cents: self.entries().iter().fold(0, |sum, entry| sum.saturating_add(entry.cents)) })
    }

    #[tool(description = "All entries, oldest first", annotations(read_only_hint = true))]
    async fn list_entries(&self) -> Json<Entries> {
        Json(Entries { entries: self.entries().clone() })
    }

    #[tool(description = "Posts one entry", annotations(destructive_hint = false))]
    async fn post_entry(&self, Parameters(PostEntry { memo, cents }): Parameters<PostEntry>) -> Json<Entry> {
        let mut entries = self.entries();
        let number = u64::try_from(entries.len()).unwrap_or(u64::MAX).saturating_add(1);
        let entry = Entry { number, memo, cents };
        entries.push(entry.clone());
        Json(entry)
    }

    #[tool(description = "Deletes every entry", annotations(destructive_hint = true))]
    async fn drop_ledger(&self) -> Json<Balance> {
        self.entries().clear();
        Json(Balance { cents: 0 })
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // The list is never left half-changed, so a panic elsewhere does not spoil it.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tool_handler]
impl ServerHandler for Ledger {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("ledger", env!("CARGO_PKG_VERSION")))
            .with_instructions("A small ledger: read its balance, list its entries, post to it.")
    }
}
