//! The client side: any MCP client of this machine, carried over mTLS with a live identity directory.

mod config;
mod error;
mod listen;
mod params;
mod session;
mod stdio;
mod tokens;
mod transport;

use std::sync::Arc;

use countermark_identity::{Clock, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

pub use self::config::{ConnectConfig, ConnectLimits, ConnectTokens, Listen};
pub use self::error::ConnectError;
pub use self::listen::Listening;
use self::transport::Transport;

/// An identity that is loaded and a server that is named; ready to carry.
#[derive(Debug)]
pub struct Connect {
    transport: Arc<Transport>,
}

impl Connect {
    /// Reads the identity directory and keeps watching it. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConnectError`] names the file or URL, the cause and the next step.
    pub async fn open(config: ConnectConfig) -> Result<Self, ConnectError> {
        Self::open_at(config, Arc::new(SystemClock)).await
    }

    /// [`Connect::open`] by another clock than the system's.
    ///
    /// # Errors
    /// As [`Connect::open`].
    pub async fn open_at(config: ConnectConfig, clock: Arc<dyn Clock>) -> Result<Self, ConnectError> {
        Ok(Self { transport: Arc::new(Transport::open(config, clock).await?) })
    }

    /// Carries newline-delimited JSON-RPC until `input` ends or `shutdown`.
    ///
    /// # Errors
    /// When `input` or `output` break; what the server refuses is an answer in `output`, not an error.
    pub async fn stdio<R, W>(self, input: R, output: W, shutdown: CancellationToken) -> Result<(), ConnectError>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let transport = Arc::clone(&self.transport);
        let carried = stdio::carry(self.transport, input, output, shutdown).await;
        transport.end().await;
        carried
    }

    /// Binds a loopback address or a Unix socket for local clients that speak HTTP.
    ///
    /// # Errors
    /// [`ConnectError`] when it is not loopback, is in use or cannot be bound.
    pub async fn listen(self, at: Listen) -> Result<Listening, ConnectError> {
        Listening::bind(self.transport, at).await
    }
}

/// Carries this process's standard streams until they end.
///
/// # Errors
/// As [`Connect::open`] and [`Connect::stdio`].
pub async fn run(config: ConnectConfig, shutdown: CancellationToken) -> Result<(), ConnectError> {
    Connect::open(config).await?.stdio(tokio::io::stdin(), tokio::io::stdout(), shutdown).await
}
