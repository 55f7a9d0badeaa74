//! Why connect does not start, or stops.

use std::io;
use std::path::PathBuf;

/// Why connect does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be used.
    #[error("`{url}` cannot be used: {message}; it looks like https://ledger.internal:8443/mcp")]
    Url {
        /// As configured.
        url: String,
        /// Why.
        message: &'static str,
    },
    /// The expected server cannot be understood.
    #[error("`{server}` is neither a server's name nor a SPIFFE ID: {message}")]
    Server {
        /// As configured.
        server: String,
        /// Why.
        message: String,
    },
    /// The identity directory cannot be used.
    #[error("identity directory {}: {message}", path.display())]
    Identity {
        /// Which.
        path: PathBuf,
        /// Cause and remedy.
        message: String,
    },
    /// Tokens cannot be asked for.
    #[error("tokens: {0}")]
    Tokens(String),
    /// TLS cannot be configured.
    #[error("TLS: {0}")]
    Tls(String),
    /// Only loopback is served.
    #[error(
        "{address} is not a loopback address; `--listen` takes 127.0.0.1:PORT, [::1]:PORT or unix:PATH, for whoever reaches it is the agent"
    )]
    NotLoopback {
        /// As configured.
        address: String,
    },
    /// The address is taken.
    #[error("{address} is already in use; choose another with --listen, or port 0 for the kernel's choice")]
    AddressInUse {
        /// Which.
        address: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A standard stream or the listener broke.
    #[error("{stream}: {source}")]
    Io {
        /// Which.
        stream: &'static str,
        /// Why.
        source: io::Error,
    },
}
