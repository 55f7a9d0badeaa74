//! From what was typed to what guard is told.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use countermark_proxy::guard::{AuditSink, DenyStatus, GuardConfig, GuardLimits, StdioLimits, StdioServer, Upstream};

use super::{ChildArgs, GuardArgs, LimitArgs, tokens};
use crate::failure::{Explain, Outcome, failed, usage};

/// The configuration that the flags stand for.
pub(super) fn config(args: GuardArgs) -> Outcome<GuardConfig> {
    let upstream = match args.upstream.as_deref() {
        Some(upstream) => remote(upstream, &args.child.path, args.danger_plaintext_upstream)?,
        None => Upstream::Stdio(child(args.command, args.child)?),
    };
    Ok(GuardConfig {
        crl: args.crl,
        allow_hosts: args.allow_host,
        allow_origins: args.allow_origin,
        audit: args.audit.map_or(AuditSink::Stdout, AuditSink::File),
        admin: args.admin,
        danger_observe: args.danger_observe,
        forward_identity: args.forward_identity,
        deny_status: if args.deny_status == "403" { DenyStatus::Forbidden } else { DenyStatus::Ok },
        tokens: tokens::config(&args.tokens)?,
        limits: limits(&args.limits),
        danger_plaintext_upstream: args.danger_plaintext_upstream,
        tls12: args.tls12,
        state: args.state,
        ..GuardConfig::new(args.listen, upstream, args.identity, args.policy)
    })
}

fn limits(args: &LimitArgs) -> GuardLimits {
    GuardLimits {
        connections: args.max_connections,
        requests: args.max_requests,
        body_bytes: args.max_body,
        idle: args.idle,
        drain: args.drain,
        upstream_headers: args.upstream_timeout,
        ..GuardLimits::default()
    }
}

fn remote(upstream: &str, path: &str, danger_plaintext: bool) -> Outcome<Upstream> {
    if let Some(socket) = upstream.strip_prefix("unix:") {
        if socket.is_empty() {
            return Err(usage("--upstream unix: names no socket", "write --upstream unix:/run/server.sock"));
        }
        return Ok(Upstream::Unix { socket: PathBuf::from(socket), path: path.to_owned() });
    }
    if let Some(rest) = upstream.strip_prefix("http://") {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if !danger_plaintext && !is_loopback(authority) {
            return Err(usage(
                format!("--upstream {upstream} would send judged calls in plain text to another machine"),
                "use https://, put guard beside the server, or accept it with --danger-plaintext-upstream",
            ));
        }
    } else if !upstream.starts_with("https://") {
        return Err(usage(
            format!("--upstream {upstream} is no URL"),
            "write http://127.0.0.1:PORT/mcp, https://HOST/mcp or unix:PATH; for a stdio server put `-- COMMAND ARGS…` at the end",
        ));
    }
    Ok(Upstream::Http { url: upstream.to_owned() })
}

/// Only a literal loopback address, or `localhost`, stays on this machine.
fn is_loopback(authority: &str) -> bool {
    let host = authority.parse::<SocketAddr>().map_or_else(
        |_| {
            let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
            authority.trim_matches(['[', ']']).parse::<IpAddr>().map_err(|_| name.to_owned())
        },
        |address| Ok(address.ip()),
    );
    match host {
        Ok(ip) => ip.is_loopback(),
        Err(name) => name == "localhost",
    }
}

fn child(command: Vec<String>, args: ChildArgs) -> Outcome<StdioServer> {
    let mut words = command.into_iter();
    let program =
        words.next().ok_or_else(|| usage("no server is named", "give --upstream URL, or `-- COMMAND ARGS…`"))?;
    let env = args.env.iter().map(|pair| variable(pair)).collect::<Outcome<Vec<_>>>()?;
    Ok(StdioServer {
        env,
        user: args.user,
        path: args.path,
        limits: StdioLimits {
            processes: args.max_processes,
            idle: args.process_idle,
            wall: args.process_life,
            memory: args.max_memory,
            ..StdioLimits::default()
        },
        ..StdioServer::new(find(&program)?, words.collect())
    })
}

/// The program's path: a bare name is looked for on guard's own PATH, since the child's is empty.
fn find(program: &str) -> Outcome<PathBuf> {
    let missing = || failed(format!("no program `{program}` on PATH"), "install it, or give its whole path");
    if program.contains('/') {
        return std::path::absolute(program).or_failed(format!("cannot resolve {program}"), "");
    }
    let path = std::env::var_os("PATH").ok_or_else(missing)?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_program(file)).ok_or_else(missing)
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn variable(pair: &str) -> Outcome<(String, String)> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // The text may be a secret typed without its name: it is not repeated.
        _ => Err(usage("--env takes NAME=VALUE", "write --env PATH=/usr/bin")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for url in ["http://127.0.0.1:3000/mcp", "http://[::1]:3000/mcp", "http://localhost/mcp", "http://127.0.0.1"] {
            assert!(remote(url, "/mcp", false).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1/mcp",
            "http://localhost.evil/mcp",
            "http://127.0.0.1@evil/mcp",
            "http://0.0.0.0:1/",
            "ftp://x",
        ] {
            assert!(remote(url, "/mcp", false).is_err(), "{url}");
        }
        assert!(remote("http://10.0.0.1/mcp", "/mcp", true).is_ok());
    }

    #[test]
    fn a_variable_without_a_name_is_not_repeated() {
        let error = variable("hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
