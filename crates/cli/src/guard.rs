//! `countermark guard`: mTLS, identity and policy before any MCP server.

mod plan;
mod tokens;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use countermark_proxy::{CrlSource, Guard};

use crate::{
    failure::{Exit, Explain, Outcome},
    renewing,
    runtime::{self, shutdown},
};

/// Stand before an MCP server: mTLS, identity, policy for each call
///
/// Agents connect with their certificate; what the policy grants goes on to the server, and each
/// decision is one JSON line of audit on stdout.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        countermark guard --listen 0.0.0.0:8443 --upstream http://127.0.0.1:3000/mcp \\\n      \
            --identity id/ledger --policy policy.toml --audit audit.jsonl\n  \
        countermark guard --listen 0.0.0.0:8443 --upstream http://127.0.0.1:3000/mcp \\\n      \
            --identity id/ledger --policy policy.toml --crl https://ca.internal:8443\n  \
        countermark guard --listen 0.0.0.0:8443 --identity id/files --policy policy.toml \\\n      \
            --env PATH=/usr/bin --user mcp -- npx -y @modelcontextprotocol/server-filesystem /srv")]
pub(crate) struct GuardArgs {
    /// TOML file with these flags as keys; what is typed wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address for agents; port 0 is the kernel's choice
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// The server behind: http://127.0.0.1:3000/mcp, https://…, or unix:PATH
    #[arg(long, value_name = "URL", required_unless_present = "command", conflicts_with = "command")]
    pub(crate) upstream: Option<String>,
    /// Identity directory of this server, from `countermark mint server`
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: PathBuf,
    /// The policy: who may call what
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// CRL of the own trust domain: a file instead of the one in the identity directory, or an authority (https://HOST:PORT)
    /// that is asked by a long poll
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) crl: Option<CrlSource>,
    /// Append the audit to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Serve healthz, readyz and metrics here, in plain HTTP
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// Accept this Host beside the names of the certificate
    #[arg(long = "allow-host", value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
    /// Accept this Origin; without one, any request with an Origin is refused
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// HTTP status of a denial
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = ["200", "403"])]
    pub(crate) deny_status: String,
    /// Tell the upstream who calls: Client-Cert (RFC 9440) and Countermark-Agent
    #[arg(long)]
    pub(crate) forward_identity: bool,
    /// Let calls that lack a grant pass and record them as would_deny
    #[arg(long)]
    pub(crate) danger_observe: bool,
    /// Permit plain HTTP to an upstream that is not on this machine
    #[arg(long)]
    pub(crate) danger_plaintext_upstream: bool,
    /// Accept TLS 1.2 beside 1.3
    #[arg(long)]
    pub(crate) tls12: bool,
    /// File that remembers the newest CRL numbers and bundle sequences [default: beside the identity]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Renew the identity from this authority (https://HOST:PORT), in this process
    #[arg(long, value_name = "URL")]
    pub(crate) renew_from: Option<String>,
    #[command(flatten)]
    pub(crate) tokens: tokens::TokenArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) child: ChildArgs,
    /// A stdio MCP server to run, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Bounds of every request and connection.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Connections at one time
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) max_connections: usize,
    /// Requests in flight at one time; one agent holds a quarter at most
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_requests: usize,
    /// Bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = 4 * 1024 * 1024)]
    pub(crate) max_body: usize,
    /// A connection without a request is closed after this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::args::duration)]
    pub(crate) idle: Duration,
    /// Requests in flight may take this long to end after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::args::duration)]
    pub(crate) drain: Duration,
    /// The upstream's response headers must arrive within this time
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::args::duration)]
    pub(crate) upstream_timeout: Duration,
}

/// How a stdio server is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stdio server")]
pub(crate) struct ChildArgs {
    /// A variable of the child's environment, which is empty otherwise
    #[arg(long, value_name = "NAME=VALUE", requires = "command")]
    pub(crate) env: Vec<String>,
    /// Run the child as this user (a name, or UID:GID); without it, it can read guard's key
    #[arg(long, value_name = "USER", requires = "command")]
    pub(crate) user: Option<String>,
    /// The path that guard serves
    #[arg(long, value_name = "PATH", default_value = "/mcp")]
    pub(crate) path: String,
    /// Processes at one time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_processes: usize,
    /// Address space of each process
    #[arg(long, value_name = "BYTES", requires = "command")]
    pub(crate) max_memory: Option<u64>,
    /// A process without a request is ended after this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = crate::args::duration)]
    pub(crate) process_idle: Duration,
    /// A process is ended after this long, whatever it does
    #[arg(long, value_name = "TIME", requires = "command", value_parser = crate::args::duration)]
    pub(crate) process_life: Option<Duration>,
}

pub(crate) fn run(args: GuardArgs) -> Outcome<Exit> {
    let renew = args.renew_from.clone().map(|url| (url, args.identity.clone()));
    let config = plan::config(args)?;
    runtime::long(async move {
        // Before anything is said: whoever hears that guard serves may end it.
        let ended = shutdown()?;
        if let Some((url, identity)) = renew {
            renewing::start(&url, &identity, ended.clone()).await?;
        }
        let guard = Guard::bind(config).await.or_failed("guard did not start", "")?;
        tracing::info!(url = guard.url(), "guard serves");
        if let Some(admin) = guard.admin_addr() {
            tracing::info!(url = %format_args!("http://{admin}/"), "healthz, readyz and metrics");
        }
        guard.serve(ended).await.or_failed("guard stopped", "")?;
        tracing::info!("guard has drained and ends");
        Ok(Exit::Done)
    })
}
