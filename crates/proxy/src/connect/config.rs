//! What connect is told, as plain data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countermark_oauth::ClientAuthentication;

use crate::crl::CrlSource;

/// Everything connect needs to know.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct ConnectConfig {
    /// The server's endpoint: `https://HOST:PORT/mcp`.
    pub url: String,
    /// The identity directory of the agent.
    pub identity: PathBuf,
    /// The server that must answer: a name (`ledger`) or a full SPIFFE ID; without one the URL's host as a SAN.
    pub server: Option<String>,
    /// Where the revocation lists of the agent's own trust domain come from, beside the identity directory.
    pub crl: Option<CrlSource>,
    /// The file that remembers the newest CRL numbers and bundle sequences; beside the identity when absent.
    pub state: Option<PathBuf>,
    /// How access tokens are had; without it, the certificate is all that is presented.
    pub tokens: Option<ConnectTokens>,
    /// Times and sizes.
    pub limits: ConnectLimits,
}

impl ConnectConfig {
    /// The safe defaults for everything but the two things that have none.
    #[must_use]
    pub fn new(url: String, identity: PathBuf) -> Self {
        Self { url, identity, server: None, crl: None, state: None, tokens: None, limits: ConnectLimits::default() }
    }
}

/// How connect gets access tokens.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct ConnectTokens {
    /// The client's id at the authorization server.
    pub client: String,
    /// The authorization server; without one, the first that the server's own metadata names (RFC 9728) and that can be asked and
    /// knows this client, for as long as it is named.
    pub issuer: Option<String>,
    /// The CA of the authorization server's certificate; without one, the roots of the agent's trust domain.
    pub ca: Option<PathBuf>,
    /// How the client proves who it is.
    pub authentication: ClientAuthentication,
    /// What tokens are asked for (RFC 8707); without one, the server's URL.
    pub resource: Option<String>,
    /// The scopes to begin with; more are asked for once the server says which. Where the issuer is discovered, those of the first
    /// challenge come before them, and what the server's metadata lists in their absence.
    pub scopes: Vec<String>,
    /// Binds tokens by proofs of possession (RFC 9449) instead of by the certificate.
    pub dpop: bool,
    /// Ends the tokens at the authorization server when connect ends (RFC 7009).
    pub revoke: bool,
}

impl ConnectTokens {
    /// The safe defaults for everything but the client.
    #[must_use]
    pub fn new(client: impl Into<String>) -> Self {
        Self {
            client: client.into(),
            issuer: None,
            ca: None,
            authentication: ClientAuthentication::Certificate,
            resource: None,
            scopes: Vec::new(),
            dpop: false,
            revoke: false,
        }
    }
}

/// Where a local client reaches connect.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one of these")]
pub enum Listen {
    /// Plain HTTP on loopback: every local user is then the agent.
    Tcp(SocketAddr),
    /// A Unix socket of mode 0600 whose peers must have this process's user id.
    Unix(PathBuf),
}

/// Times and sizes of connect.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct ConnectLimits {
    /// Until the TCP connection and the TLS handshake stand.
    pub connect: Duration,
    /// From a request to its response headers.
    pub headers: Duration,
    /// Bytes of a line, a request's body or an event.
    pub message: usize,
    /// Requests in flight at one time.
    pub in_flight: usize,
    /// How long answers in flight may take after the input ended.
    pub drain: Duration,
}

impl Default for ConnectLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            headers: Duration::from_secs(600),
            message: 16 * 1024 * 1024,
            in_flight: 256,
            drain: Duration::from_secs(10),
        }
    }
}
