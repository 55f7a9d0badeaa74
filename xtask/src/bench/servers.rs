//! The servers: guard, the measure, and what others put in that place, each told to permit the same as far as it can.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::estate::{Estate, on_core};
use super::process::Server;
use crate::command::{Skip, find};
use crate::context::Context;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Limit,
    Guard,
    Haproxy,
    Nginx,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Limit, Self::Guard, Self::Haproxy, Self::Nginx, Self::Envoy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit: hyper + tokio-rustls, any client certificate",
            Self::Guard => "guard: identity, tool policy, strict parse, CRL, audit",
            Self::Haproxy => "HAProxy: CN and tool by json_query",
            Self::Nginx => "nginx: by DN",
            Self::Envoy => "Envoy with its MCP filter: URI SAN and tool",
        }
    }

    pub(crate) fn knows_tools(self) -> bool {
        matches!(self, Self::Guard | Self::Haproxy | Self::Envoy)
    }

    pub(crate) fn knows_agents(self) -> bool {
        self != Self::Limit
    }

    pub(crate) fn start(self, context: &Context, estate: &Estate) -> Result<Server> {
        match self {
            Self::Limit => Server::start(self, &mut estate.limit(), None),
            Self::Guard => Server::start(self, &mut guard(estate), None),
            Self::Haproxy => self.third_party(estate, &installed("haproxy")?, HAPROXY, &["-db", "-f"]),
            Self::Nginx => self.third_party(estate, &installed("nginx")?, NGINX, &["-c"]),
            Self::Envoy => self.third_party(
                estate,
                &crate::peers::envoy(context)?,
                ENVOY,
                &["--concurrency", "1", "-l", "error", "-c"],
            ),
        }
    }

    /// Fills a configuration in and starts its server on a port that was free a moment ago.
    fn third_party(self, estate: &Estate, program: &Path, template: &str, flags: &[&str]) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let ledger = estate.folder.join("ledger");
        let both = std::fs::read_to_string(ledger.join("tls.crt"))? + &std::fs::read_to_string(ledger.join("tls.key"))?;
        let pem = estate.folder.join("ledger.pem");
        std::fs::write(&pem, both)?;
        let (upstream_host, upstream_port) = estate.upstream_address().split_once(':').unwrap_or_default();
        let text = template
            .replace("PORT", &port.to_string())
            .replace("UPSTREAM_HOST", upstream_host)
            .replace("UPSTREAM_P", upstream_port)
            .replace("FOLDER", &estate.folder.display().to_string())
            .replace("LEDGER", &ledger.display().to_string());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let file = estate.folder.join(format!("{name}.{}", if template == ENVOY { "yaml" } else { "conf" }));
        std::fs::write(&file, text)?;
        let url = format!("https://127.0.0.1:{port}/mcp");
        Server::start(self, on_core(0, program).args(flags).arg(file), Some(url))
    }
}

fn guard(estate: &Estate) -> Command {
    let mut guard = on_core(0, &estate.binaries.countermark);
    guard.args(["guard", "--listen", "127.0.0.1:0", "--upstream", &estate.upstream, "--identity"]);
    guard.arg(estate.folder.join("ledger")).arg("--policy").arg(estate.folder.join("policy.toml"));
    guard.arg("--audit").arg(estate.folder.join("audit.jsonl"));
    guard
}

fn installed(program: &str) -> Result<PathBuf> {
    let sbin = PathBuf::from("/usr/sbin").join(program);
    let found = find(program).or_else(|| sbin.is_file().then_some(sbin));
    found.ok_or_else(|| Skip(format!("{program} is not installed")).into())
}

const HAPROXY: &str = include_str!("haproxy.conf");
const NGINX: &str = include_str!("nginx.conf");
const ENVOY: &str = include_str!("envoy.yaml");
