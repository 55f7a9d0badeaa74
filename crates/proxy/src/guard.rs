//! The server side: mTLS in, policy in the middle, any MCP server behind.

mod config;
mod error;

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

pub use self::config::{AuditSink, DenyStatus, GuardConfig, GuardLimits, StdioLimits, StdioServer, Upstream};
pub use self::error::GuardError;

/// A guard whose sockets are bound and whose files are read; nothing is served before [`Guard::serve`].
#[derive(Debug)]
pub struct Guard {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    url: String,
}

impl Guard {
    /// Reads the identity, the trust material and the policy, opens the audit and binds the sockets.
    ///
    /// # Errors
    /// [`GuardError`] names the file or address, the cause and the next step.
    #[expect(clippy::todo, clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn bind(config: GuardConfig) -> Result<Self, GuardError> {
        let _ = config;
        todo!("bind")
    }

    /// The address that agents connect to; with port 0 in the configuration, the kernel's choice.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of healthz, readyz and metrics.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The URL that agents use, with the path of the upstream.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`GuardError`] when a listener fails for good.
    #[expect(clippy::todo, clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), GuardError> {
        let _ = shutdown;
        todo!("serve")
    }
}

/// [`Guard::bind`] and [`Guard::serve`] in one call.
///
/// # Errors
/// As those two.
pub async fn run(config: GuardConfig, shutdown: CancellationToken) -> Result<(), GuardError> {
    Guard::bind(config).await?.serve(shutdown).await
}
