//! What a guard is told, as plain data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countermark_mcp::DenyStatus;

use super::tokens::TokensConfig;
use crate::crl::CrlSource;

/// Everything a guard needs to know.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct GuardConfig {
    /// Where agents connect.
    pub listen: SocketAddr,
    /// The MCP server behind.
    pub upstream: Upstream,
    /// The identity directory of guard's own `/server/<name>`.
    pub identity: PathBuf,
    /// The policy file.
    pub policy: PathBuf,
    /// Where the revocation lists of guard's own trust domain come from, beside the identity directory.
    pub crl: Option<CrlSource>,
    /// `Host` values that are accepted beside the DNS and IP names of guard's certificate.
    pub allow_hosts: Vec<String>,
    /// `Origin` values that are accepted; an absent `Origin` always is.
    pub allow_origins: Vec<String>,
    /// Where each decision is written.
    pub audit: AuditSink,
    /// Where healthz, readyz and metrics are served, in plain HTTP.
    pub admin: Option<SocketAddr>,
    /// Lets calls that lack a grant pass and records them as `would_deny`; relaxes nothing else.
    pub danger_observe: bool,
    /// Tells the upstream who calls: `Client-Cert` (RFC 9440) and `Countermark-Agent`.
    pub forward_identity: bool,
    /// The HTTP status of a policy denial.
    pub deny_status: DenyStatus,
    /// What is wanted of access tokens.
    pub tokens: TokensConfig,
    /// Times and sizes.
    pub limits: GuardLimits,
    /// Permits plain HTTP to an upstream that is neither loopback nor a Unix socket.
    pub danger_plaintext_upstream: bool,
    /// Accepts TLS 1.2 beside 1.3.
    pub tls12: bool,
    /// The file that remembers the newest CRL numbers and bundle sequences; beside the identity when absent.
    pub state: Option<PathBuf>,
}

impl GuardConfig {
    /// The safe defaults for everything but the four things that have none.
    #[must_use]
    pub fn new(listen: SocketAddr, upstream: Upstream, identity: PathBuf, policy: PathBuf) -> Self {
        Self {
            listen,
            upstream,
            identity,
            policy,
            crl: None,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            audit: AuditSink::Stdout,
            admin: None,
            danger_observe: false,
            forward_identity: false,
            deny_status: DenyStatus::Ok,
            tokens: TokensConfig::default(),
            limits: GuardLimits::default(),
            danger_plaintext_upstream: false,
            tls12: false,
            state: None,
        }
    }
}

/// The MCP server behind a guard.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one of these")]
pub enum Upstream {
    /// `http://` on loopback, or `https://` with guard's client certificate; the URL's path is the one guard serves.
    Http {
        /// The endpoint.
        url: String,
    },
    /// HTTP over a Unix socket.
    Unix {
        /// The socket.
        socket: PathBuf,
        /// The endpoint's path, such as `/mcp`.
        path: String,
    },
    /// A program that speaks MCP on its standard streams.
    Stdio(StdioServer),
}

/// A stdio MCP server and how it is run: never by a shell, with an empty environment plus `env` and no descriptor but its three.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct StdioServer {
    /// The program; a bare name is searched on the `PATH` of `env`, or the system's default.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// The user to run it as: a name of `/etc/passwd`, or `UID:GID`. Without one it can read guard's key, and guard says so.
    pub user: Option<String>,
    /// The path that guard serves.
    pub path: String,
    /// Bounds.
    pub limits: StdioLimits,
}

impl StdioServer {
    /// `command` at `/mcp` with nothing in its environment.
    #[must_use]
    pub fn new(command: PathBuf, args: Vec<String>) -> Self {
        Self { command, args, env: Vec::new(), user: None, path: "/mcp".to_owned(), limits: StdioLimits::default() }
    }
}

/// Bounds of stdio servers.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct StdioLimits {
    /// Processes at one time.
    pub processes: usize,
    /// Processes at one time for one agent.
    pub processes_per_agent: usize,
    /// Requests in flight at one process.
    pub in_flight: usize,
    /// A process without a request for this long is ended.
    pub idle: Duration,
    /// A process older than this is ended.
    pub wall: Option<Duration>,
    /// Address space of each process in bytes (`RLIMIT_AS`).
    pub memory: Option<u64>,
    /// From spawning to the answer of the handshake.
    pub start: Duration,
    /// The longest a request may take.
    pub request: Duration,
    /// The longest line that a process may write.
    pub line: usize,
}

impl Default for StdioLimits {
    fn default() -> Self {
        Self {
            processes: 64,
            processes_per_agent: 8,
            in_flight: 64,
            idle: Duration::from_secs(600),
            wall: None,
            memory: None,
            start: Duration::from_secs(30),
            request: Duration::from_secs(600),
            line: 16 * 1024 * 1024,
        }
    }
}

/// Where the audit goes.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one of these")]
pub enum AuditSink {
    /// Standard output.
    Stdout,
    /// Appended to this file, which is created with mode 0600.
    File(PathBuf),
}

/// Times and sizes of a guard.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct GuardLimits {
    /// TLS handshake.
    pub handshake: Duration,
    /// Until the request's headers are complete.
    pub headers: Duration,
    /// Bytes of headers.
    pub header_bytes: usize,
    /// Until the request's body is complete.
    pub body: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// A connection without a request.
    pub idle: Duration,
    /// HTTP/2 streams of one connection.
    pub http2_streams: u32,
    /// Connections at one time, as far as the descriptor limit of the process permits.
    pub connections: usize,
    /// Requests in flight at one time; one agent holds a quarter at most.
    pub requests: usize,
    /// How long requests in flight may take to end after shutdown.
    pub drain: Duration,
    /// Until the upstream's connection stands.
    pub upstream_connect: Duration,
    /// From the request to the upstream's response headers.
    pub upstream_headers: Duration,
    /// Between two pieces of an upstream's body that is not an event stream.
    pub upstream_body: Duration,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            header_bytes: 32 * 1024,
            body: Duration::from_secs(30),
            body_bytes: 4 * 1024 * 1024,
            idle: Duration::from_secs(60),
            http2_streams: 100,
            connections: 10_000,
            requests: 1024,
            drain: Duration::from_secs(30),
            upstream_connect: Duration::from_secs(5),
            upstream_headers: Duration::from_secs(300),
            upstream_body: Duration::from_secs(60),
        }
    }
}
