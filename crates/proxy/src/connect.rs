//! The client side: any MCP client of this machine, carried over mTLS with a live identity directory.

mod config;
mod error;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

pub use self::config::{ConnectConfig, ConnectLimits, Listen};
pub use self::error::ConnectError;

/// An identity that is loaded and a server that is named; ready to carry.
#[derive(Debug)]
pub struct Connect {
    config: ConnectConfig,
}

impl Connect {
    /// Reads the identity directory and keeps watching it.
    ///
    /// # Errors
    /// [`ConnectError`] names the file or URL, the cause and the next step.
    #[expect(clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn open(config: ConnectConfig) -> Result<Self, ConnectError> {
        Ok(Self { config })
    }

    /// Carries newline-delimited JSON-RPC until `input` ends or `shutdown`.
    ///
    /// # Errors
    /// When `input` or `output` break; what the server refuses is an answer in `output`, not an error.
    #[expect(clippy::todo, clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn stdio<R, W>(self, input: R, output: W, shutdown: CancellationToken) -> Result<(), ConnectError>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let _ = (input, output, shutdown, self.config);
        todo!("stdio")
    }

    /// Binds the loopback address or Unix socket of the configuration.
    ///
    /// # Errors
    /// [`ConnectError`] when it is not loopback, is in use or cannot be bound.
    #[expect(clippy::todo, clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn listen(self, at: Listen) -> Result<Listening, ConnectError> {
        let _ = at;
        todo!("listen")
    }
}

/// A bound local listener; nothing is served before [`Listening::serve`].
#[derive(Debug)]
pub struct Listening {
    address: Option<SocketAddr>,
}

impl Listening {
    /// The loopback address, unless it is a Unix socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What a local client is given: `http://127.0.0.1:PORT/mcp` or `unix:PATH`.
    #[must_use]
    #[expect(clippy::todo, reason = "filled with the crates below it")]
    pub fn url(&self) -> &str {
        todo!("url")
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`ConnectError`] when the listener fails for good.
    #[expect(clippy::todo, clippy::unused_async, reason = "filled with the crates below it")]
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ConnectError> {
        let _ = shutdown;
        todo!("serve")
    }
}

/// Carries this process's standard streams until they end.
///
/// # Errors
/// As [`Connect::open`] and [`Connect::stdio`].
pub async fn run(config: ConnectConfig, shutdown: CancellationToken) -> Result<(), ConnectError> {
    Connect::open(config).await?.stdio(tokio::io::stdin(), tokio::io::stdout(), shutdown).await
}
