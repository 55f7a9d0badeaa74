//! A small estate, made by `countermark` itself: an authority, a server, agents, a policy; and guard and connect on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::program::{Running, succeed};

/// Where an estate's files are; dropping it removes them.
#[derive(Debug)]
pub(super) struct Estate {
    binary: PathBuf,
    folder: TempDir,
}

/// What guard stands before.
#[derive(Debug)]
pub(super) enum Upstream {
    /// A server that listens.
    Url(String),
    /// A stdio server with the variables that it wants to see.
    Command { command: Vec<String>, environment: Vec<String> },
}

impl Estate {
    /// An authority, the server `ledger` and the agent `billing-bot`, who may call what `grant` lists.
    pub(super) fn new(binary: &Path, grant: &str) -> Result<Self> {
        let estate = Self {
            binary: binary.to_owned(),
            folder: tempfile::Builder::new()
                .prefix("countermark-peers-")
                .disable_cleanup(countermark_testkit::is_kept())
                .tempdir()?,
        };
        let init = ["ca", "init", "--trust-domain", "agents.internal", "--plaintext-key"];
        succeed(estate.countermark().args(init).arg("--dir").arg(estate.path("ca")))?;
        estate.mint("server", "ledger", &["--dns", "localhost", "--ip", "127.0.0.1"])?;
        estate.mint("agent", "billing-bot", &[])?;
        std::fs::write(
            estate.path("policy.toml"),
            format!(
                "version = 1\ntrust_domain = \"agents.internal\"\n\n\
                 [[grant]]\nwho = [\"billing-bot\"]\nservers = [\"ledger\"]\n{grant}\n"
            ),
        )?;
        Ok(estate)
    }

    pub(super) fn mint(&self, role: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
        let out = self.path(name);
        let mut mint = self.countermark();
        mint.args(["mint", role, name, "--ca"]).arg(self.path("ca"));
        succeed(mint.arg("--out").arg(&out).args(flags))?;
        Ok(out)
    }

    /// guard before `upstream`, and the URL that it serves.
    pub(super) fn guard(&self, upstream: &Upstream) -> Result<(Running, String)> {
        self.guard_with(upstream, &[])
    }

    /// guard before `upstream` with more flags, and the URL that it serves.
    pub(super) fn guard_with(&self, upstream: &Upstream, more: &[&str]) -> Result<(Running, String)> {
        let mut guard = self.countermark();
        guard.args(["guard", "--listen", "127.0.0.1:0"]).args(more);
        guard.arg("--identity").arg(self.path("ledger"));
        guard.arg("--policy").arg(self.path("policy.toml"));
        guard.arg("--audit").arg(self.path("audit.jsonl"));
        match upstream {
            Upstream::Url(url) => {
                guard.args(["--upstream", url]);
            }
            Upstream::Command { command, environment } => {
                guard.args(environment.iter().flat_map(|set| ["--env", set]));
                guard.arg("--").args(command);
            }
        }
        let mut guard = Running::start(&mut guard)?;
        let serves = |line: &str| if line.contains("guard serves") { secure_url(line) } else { None };
        let url = guard.wait_for(serves).context("guard")?;
        Ok((guard, url))
    }

    /// The authority as a service, and its URL.
    pub(super) fn authority(&self) -> Result<(Running, String)> {
        let mut serve = self.countermark();
        serve.args(["ca", "serve", "--listen", "127.0.0.1:0", "--dns", "localhost", "--dir"]).arg(self.path("ca"));
        let mut authority = Running::start(&mut serve)?;
        let url = authority.wait_for(secure_url).context("the authority")?;
        Ok((authority, url))
    }

    /// The command line of `connect` to `url` on stdio, as the agent.
    pub(super) fn connect(&self, url: &str) -> Vec<String> {
        let identity = self.path("billing-bot");
        let words = ["connect", "--server", "ledger", "--to", url, "--identity"];
        [self.binary.display().to_string()]
            .into_iter()
            .chain(words.map(str::to_owned))
            .chain([identity.display().to_string()])
            .collect()
    }

    /// connect to `url` on a loopback port, and the URL that it serves.
    pub(super) fn connect_listening(&self, url: &str) -> Result<(Running, String)> {
        self.connect_listening_with(url, &[])
    }

    /// connect to `url` on a loopback port with more flags, and the URL that it serves.
    pub(super) fn connect_listening_with(&self, url: &str, more: &[&str]) -> Result<(Running, String)> {
        let words = self.connect(url);
        let mut connect = Command::new(&self.binary);
        connect.args(words.iter().skip(1));
        let mut connect = Running::start(connect.args(["--listen", "127.0.0.1:0"]).args(more))?;
        let served = connect.wait_for(|line| {
            let from = line.find("http://127.0.0.1:")?;
            Some(word(line.get(from..)?).to_owned())
        });
        Ok((connect, served.context("connect")?))
    }

    pub(super) fn countermark(&self) -> Command {
        Command::new(&self.binary)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The audit, one decision a line.
    pub(super) fn audit(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path("audit.jsonl"))?)
    }
}

/// The URL that guard prints, with the name that the certificate and every client's trust store agree on.
fn secure_url(line: &str) -> Option<String> {
    let from = line.find("https://")?;
    Some(word(line.get(from..)?).replace("127.0.0.1", "localhost"))
}

fn word(text: &str) -> &str {
    let end = text.find(|end: char| end.is_whitespace() || end == '"');
    text.get(..end.unwrap_or(text.len())).unwrap_or(text)
}
