//! Why a guard does not start, or stops.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a guard does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The address is taken.
    #[error("{address} is already in use; choose another with {flag}, or port 0 for the kernel's choice")]
    AddressInUse {
        /// Which.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another with {flag}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The identity directory cannot be used.
    #[error("identity directory {}: {message}", path.display())]
    Identity {
        /// Which.
        path: PathBuf,
        /// Cause and remedy.
        message: String,
    },
    /// The identity is not a server.
    #[error("{identity} is not a server; guard needs `/server/<name>`: `countermark mint server NAME`")]
    NotAServer {
        /// Who it is.
        identity: String,
    },
    /// What is wanted of tokens cannot be kept.
    #[error("tokens: {0}")]
    Tokens(String),
    /// The policy file cannot be read.
    #[error("cannot read policy {}: {source}", path.display())]
    PolicyUnreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The policy is wrong.
    #[error("policy {}: {message}", path.display())]
    Policy {
        /// Which.
        path: PathBuf,
        /// Line, column, cause and remedy.
        message: String,
    },
    /// The policy is of another trust domain.
    #[error("policy {} is of trust domain `{policy}`, the identity of `{identity}`", path.display())]
    TrustDomain {
        /// Which.
        path: PathBuf,
        /// The policy's.
        policy: String,
        /// The identity's.
        identity: String,
    },
    /// The upstream cannot be used as configured.
    #[error("upstream {upstream}: {message}")]
    Upstream {
        /// As configured.
        upstream: String,
        /// Cause and remedy.
        message: String,
    },
    /// The audit cannot be opened.
    #[error("cannot open audit {}: {source}; no call is served without an audit", path.display())]
    Audit {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be configured.
    #[error("TLS: {0}")]
    Tls(String),
    /// A listener failed for good.
    #[error("the listener failed: {0}")]
    Serve(#[source] io::Error),
}
