//! An agent: a live identity directory and a client that uses it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countermark_credential::{
    Credential,
    watch::{DirectoryConfig, DirectorySource},
};
use countermark_identity::{SanMap, Serial, SystemClock, TrustDomain};
use countermark_mtls::{Client, ClientConfig, ExpectedServer, TrustGenerations};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    failure::{Explain, Outcome, sentence},
    rpc::{self, Answer},
};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An agent of the quickstart; clones share the directory and the connections.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    directory: PathBuf,
    url: String,
    client: Client,
    source: Arc<DirectorySource>,
    calls: Arc<AtomicU64>,
}

impl Agent {
    /// Follows `directory` and speaks to the server `ledger` at `url`.
    pub(super) fn start(directory: PathBuf, url: String, own: &TrustDomain) -> Outcome<Self> {
        let source = DirectorySource::spawn(DirectoryConfig::new(&directory), Arc::new(SystemClock))
            .or_failed(format!("cannot use {}", directory.display()), "")?;
        let (_, map) = watch::channel(Arc::new(SanMap::empty(own.clone())));
        let generations = TrustGenerations::join(source.trust(), map);
        let expected = ExpectedServer::Name("ledger".to_owned());
        let client = Client::new(
            source.credential(),
            generations.watch(),
            expected,
            Arc::new(SystemClock),
            ClientConfig::default(),
        )
        .or_failed("the client cannot be made", "")?;
        Ok(Self { directory, url, client, source: Arc::new(source), calls: Arc::default() })
    }

    /// Its identity directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it presents now.
    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.source.credential().borrow())
    }

    /// Waits until it presents the certificate with this serial.
    pub(super) async fn follow(&self, serial: &Serial) -> Result<(), String> {
        let mut credential = self.source.credential();
        let arrived = credential.wait_for(|credential| credential.leaf().serial() == serial);
        match tokio::time::timeout(PATIENCE, arrived).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the certificate {serial} was delivered and is not used")),
        }
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Result<Answer, String> {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names of the tools that it is shown, sorted.
    pub(super) async fn tools(&self) -> Result<Vec<String>, String> {
        match self.request("tools/list", json!({})).await? {
            Answer::Result(list) => Ok(rpc::tool_names(&list)),
            error => Err(format!("refused: {error:?}")),
        }
    }

    async fn request(&self, method: &str, params: Value) -> Result<Answer, String> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let request = rpc::request(&self.url, id, method, params).map_err(|error| error.to_string())?;
        let exchange = async {
            let request = request.map(|body| Full::new(Bytes::from(body)));
            let response = self.client.request(request).await.map_err(|error| sentence(&error.into()))?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), 1024 * 1024).collect().await.map_err(|error| error.to_string())?;
            rpc::answer(id, &body.to_bytes()).ok_or_else(|| format!("HTTP {status} without an answer"))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
    }
}
