//! `countermark connect`: an identity for any MCP client of this machine.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use countermark_proxy::{
    CrlSource,
    connect::{Connect, ConnectConfig, ConnectTokens, Listen},
};

use crate::{
    failure::{Exit, Explain, Outcome, usage},
    renewing,
    runtime::{self, shutdown},
    token_client::ClientArgs,
};

/// Stand behind an MCP client: carry its calls over mTLS with a live identity
///
/// Without --listen it speaks MCP on stdin and stdout, which is what desktop hosts spawn. Whatever is
/// delivered into the identity directory is used at once; no call fails for it.
#[derive(Debug, Args)]
#[command(after_help = "Example (an MCP host's configuration):\n  \
    {\"mcpServers\": {\"ledger\": {\"command\": \"countermark\",\n    \
    \"args\": [\"connect\", \"--to\", \"https://ledger.internal:8443/mcp\", \"--identity\", \"/etc/agent/id\"]}}}")]
pub(crate) struct ConnectArgs {
    /// TOML file with these flags as keys; what is typed wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server: https://HOST:PORT/mcp
    #[arg(long, value_name = "URL")]
    to: String,
    /// Identity directory of this agent, from `countermark mint agent`
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// The server that must answer: a name, or a full SPIFFE ID of another trust domain [default: the URL's host as a SAN]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Serve plain HTTP on loopback (ADDR:PORT) or on a Unix socket (unix:PATH) instead of stdio
    #[arg(long, value_name = "ADDR|unix:PATH")]
    listen: Option<String>,
    /// CRL of the own trust domain: a file instead of the one in the identity directory, or an authority (https://HOST:PORT)
    /// that is asked by a long poll
    #[arg(long, value_name = "FILE|URL")]
    crl: Option<CrlSource>,
    /// Renew the identity from this authority (https://HOST:PORT), in this process
    #[arg(long, value_name = "URL")]
    renew_from: Option<String>,
    /// This agent's client id at the authorization server: gets certificate-bound tokens, and renews them with the certificate
    #[arg(long, value_name = "ID", help_heading = "Access tokens")]
    client_id: Option<String>,
    /// The authorization server, and no other [default: the first that the server names when it refuses, and that can be
    /// asked and knows this client, for as long as the server names it]
    #[arg(long, value_name = "URL", requires = "client_id", help_heading = "Access tokens")]
    issuer: Option<String>,
    /// What tokens are asked for (RFC 8707) [default: the server's URL]
    #[arg(long, value_name = "URI", requires = "client_id", help_heading = "Access tokens")]
    resource: Option<String>,
    /// A scope to ask for from the start; may be repeated. Others are asked for once the server says which [default: those that the
    /// server names when it refuses; without --issuer, else all that its metadata lists]
    #[arg(long, value_name = "SCOPE", requires = "client_id", help_heading = "Access tokens")]
    scope: Vec<String>,
    /// Revoke the tokens at the end (RFC 7009)
    #[arg(long, requires = "client_id", help_heading = "Access tokens")]
    revoke: bool,
    #[command(flatten)]
    client: ClientArgs,
    /// File that remembers the newest CRL numbers and bundle sequences [default: beside the identity]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub(crate) fn run(args: ConnectArgs) -> Outcome<Exit> {
    let listen = args.listen.as_deref().map(listen).transpose()?;
    let renew = args.renew_from.map(|url| (url, args.identity.clone()));
    let tokens = match args.client_id {
        None => None,
        Some(client) => Some(ConnectTokens {
            issuer: args.issuer,
            ca: args.client.issuer_ca.clone(),
            authentication: args.client.authentication()?,
            resource: args.resource,
            scopes: args.scope,
            dpop: args.client.dpop,
            revoke: args.revoke,
            ..ConnectTokens::new(client)
        }),
    };
    let config = ConnectConfig {
        tokens,
        server: args.server,
        crl: args.crl,
        state: args.state,
        ..ConnectConfig::new(args.to, args.identity)
    };
    runtime::long(serve(config, listen, renew))
}

async fn serve(config: ConnectConfig, listen: Option<Listen>, renew: Option<(String, PathBuf)>) -> Outcome<Exit> {
    let ended = shutdown()?;
    if let Some((url, identity)) = renew {
        renewing::start(&url, &identity, ended.clone()).await?;
    }
    let connect = Connect::open(config).await.or_failed("connect did not start", "")?;
    let Some(at) = listen else {
        connect.stdio(tokio::io::stdin(), tokio::io::stdout(), ended).await.or_failed("connect stopped", "")?;
        return Ok(Exit::Done);
    };
    if matches!(at, Listen::Tcp(_)) {
        tracing::warn!(
            "every user of this machine who reaches the port is the agent; --listen unix:PATH admits only yours"
        );
    }
    let listening = connect.listen(at).await.or_failed("connect did not start", "")?;
    tracing::info!(url = listening.url(), "connect serves");
    listening.serve(ended).await.or_failed("connect stopped", "")?;
    Ok(Exit::Done)
}

fn listen(text: &str) -> Outcome<Listen> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Listen::Unix(path.into()));
    }
    let address: SocketAddr = text.parse().map_err(|_| {
        usage(
            format!("--listen {text} is no address"),
            "write 127.0.0.1:PORT, [::1]:PORT (port 0 is the kernel's choice) or unix:PATH",
        )
    })?;
    if !address.ip().is_loopback() {
        return Err(usage(
            format!("--listen {text} is not loopback: whoever reaches it is the agent"),
            "write 127.0.0.1:PORT, [::1]:PORT or unix:PATH",
        ));
    }
    Ok(Listen::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets() {
        assert!(listen("127.0.0.1:0").is_ok() && listen("[::1]:8080").is_ok() && listen("unix:/run/x").is_ok());
        for wrong in ["0.0.0.0:80", "10.0.0.1:80", "localhost:80", "unix:", "[::]:1", ":80"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }
}
