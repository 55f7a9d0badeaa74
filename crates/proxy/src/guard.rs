//! The server side: mTLS in, policy in the middle, any MCP server behind.

mod admin;
mod audit;
mod config;
mod descriptors;
mod error;
mod held;
mod metrics;
mod policy_file;
mod prepare;
mod service;
mod shares;
mod state;
mod tokens;

use std::net::SocketAddr;
use std::ops::Not;
use std::sync::Arc;

use countermark_identity::{Clock, ServerId, SystemClock};
use countermark_mtls::{Acceptor, ServeConfig, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use countermark_mcp::DenyStatus;

pub use self::config::{AuditSink, GuardConfig, GuardLimits, StdioLimits, StdioServer, Upstream};
pub use self::error::GuardError;
pub(crate) use self::metrics::Metrics;
use self::policy_file::PolicyFile;
use self::service::Front;
use self::state::State;
pub(crate) use self::tokens::roots;
pub use self::tokens::{Introspection, TokenIssuer, TokenMode, TokensConfig, UpstreamTokens};

/// A guard whose sockets are bound and whose files are read; nothing is served before [`Guard::serve`].
#[derive(Debug)]
pub struct Guard {
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
    acceptor: Acceptor,
    front: Front,
    limits: ServeConfig,
    policy: Arc<PolicyFile>,
    state: Arc<State>,
    server: ServerId,
    /// Calls without a grant pass: a grant that is gone ends nothing.
    observing: bool,
}

impl Guard {
    /// Reads the identity, the trust material and the policy, opens the audit and binds the sockets.
    ///
    /// # Errors
    /// [`GuardError`] names the file or address, the cause and the next step.
    pub async fn bind(config: GuardConfig) -> Result<Self, GuardError> {
        Self::bind_at(config, Arc::new(SystemClock)).await
    }

    /// [`Guard::bind`] by another clock than the system's.
    ///
    /// # Errors
    /// As [`Guard::bind`].
    pub async fn bind_at(config: GuardConfig, clock: Arc<dyn Clock>) -> Result<Self, GuardError> {
        prepare::guard(config, clock).await
    }

    /// The address that agents connect to; with port 0 in the configuration, the kernel's choice.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of healthz, readyz and metrics.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// The URL that agents use, with the path of the upstream.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.front.place.url
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`GuardError`] when a listener fails for good.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), GuardError> {
        let follow = tokio::spawn(Arc::clone(&self.policy).follow(shutdown.clone()));
        if let Some(rules) = self.state.tokens.rules() {
            tokio::spawn(Arc::clone(rules.verifier()).follow(shutdown.clone()));
        }
        let cut = self.observing.not().then(|| tokio::spawn(Arc::clone(&self.state).follow_policy(self.server)));
        let probes = self.admin.map(|(listener, _)| {
            let metrics = Arc::clone(&self.front.metrics);
            // Answers while requests drain, too; readyz says by then that nothing more should come.
            let over = CancellationToken::new();
            (tokio::spawn(admin::serve(listener, Arc::clone(&self.state) as _, metrics, over.clone())), over)
        });
        let state = Arc::clone(&self.state);
        let (draining, over) = (shutdown.clone(), self.front.over.clone());
        let note = tokio::spawn(async move {
            draining.cancelled().await;
            state.drain();
            over.cancel();
        });
        serve(self.listener, self.acceptor, self.front, self.limits, shutdown).await;
        self.state.behind.end().await;
        note.abort();
        follow.abort();
        if let Some(cut) = cut {
            cut.abort();
        }
        if let Some((probes, over)) = probes {
            over.cancel();
            let _ = probes.await;
        }
        Ok(())
    }
}

/// [`Guard::bind`] and [`Guard::serve`] in one call.
///
/// # Errors
/// As those two.
pub async fn run(config: GuardConfig, shutdown: CancellationToken) -> Result<(), GuardError> {
    Guard::bind(config).await?.serve(shutdown).await
}
