//! What every server under measurement shares: the authority, the identities, the policy, the upstream, the load.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::Binaries;
use super::process::{Server, start};
use crate::command::Program;
use crate::context::Context;

#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) folder: PathBuf,
    pub(crate) upstream: String,
    pub(crate) binaries: Binaries,
    upstream_process: Child,
}

impl Estate {
    pub(crate) fn new(context: &Context, binaries: Binaries) -> Result<Self> {
        let folder = context.target.join("bench");
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder)?;
        let countermark = |words: &[&str]| Program::new(&binaries.countermark).args(words).directory(&folder).run();
        countermark(&["ca", "init", "--dir", "ca", "--trust-domain", "agents.internal", "--plaintext-key"])?;
        countermark(&[
            "mint",
            "server",
            "ledger",
            "--ca",
            "ca",
            "--out",
            "ledger",
            "--dns",
            "localhost",
            "--ip",
            "127.0.0.1",
        ])?;
        for agent in ["billing-bot", "intern-bot"] {
            countermark(&["mint", "agent", agent, "--ca", "ca", "--out", agent])?;
        }
        std::fs::write(folder.join("policy.toml"), POLICY)?;
        let (upstream_process, upstream) = start(on_core(1, &binaries.bench).arg("upstream"), true)?;
        let upstream = upstream.context("the upstream prints its URL")?;
        Ok(Self { folder, upstream, binaries, upstream_process })
    }

    /// Where the upstream listens, without scheme and path.
    pub(crate) fn upstream_address(&self) -> &str {
        self.upstream.trim_start_matches("http://").trim_end_matches("/mcp")
    }

    pub(crate) fn limit(&self) -> Command {
        let mut limit = on_core(0, &self.binaries.bench);
        limit.args(["limit", "--upstream", &self.upstream, "--identity"]).arg(self.folder.join("ledger"));
        limit
    }

    /// One call; what came back, status first.
    pub(crate) fn call(&self, server: &Server, agent: &str, tool: &str) -> Result<String> {
        let mut load = self.loader(server, "call", agent);
        let output = load.args(["--tool", tool]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Keeps the server busy and returns how many operations it did.
    pub(crate) fn load(&self, server: &Server, what: &str, seconds: f64) -> Result<u64> {
        let mut load = self.loader(server, what, "billing-bot");
        load.arg("--authority").arg(self.folder.join("ca"));
        let output = load.args(["--seconds", &seconds.to_string()]).stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        said.trim().parse().with_context(|| format!("{} under {what}", server.name))
    }

    /// KiB that one idle connection costs.
    pub(crate) fn idle(&self, server: &Server) -> Result<f64> {
        // The first connections warm up pools and allocators, which are nobody's cost.
        self.load(server, "calls", 0.5)?;
        let before = server.memory()?;
        let mut load = self.loader(server, "idle", "billing-bot");
        let mut holder =
            load.args(["--connections", &IDLE.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().context("stdout")?).read_line(&mut ready)?;
        let after = server.memory()?;
        drop(holder.stdin.take());
        holder.wait()?;
        anyhow::ensure!(ready.trim() == "ready", "{} does not hold {IDLE} connections", server.name);
        Ok(after.saturating_sub(before) as f64 / IDLE as f64)
    }

    fn loader(&self, server: &Server, what: &str, agent: &str) -> Command {
        let mut load = on_core(1, &self.binaries.bench);
        load.args(["load", what, "--url", &server.url, "--identity"]).arg(self.folder.join(agent));
        load
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.upstream_process.kill().ok();
        self.upstream_process.wait().ok();
    }
}

/// The program bound to one core, where there is a `taskset` to do it.
pub(crate) fn on_core(core: usize, program: &Path) -> Command {
    match crate::command::find("taskset") {
        Some(taskset) => {
            let mut command = Command::new(taskset);
            command.args(["--cpu-list", &core.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

const IDLE: usize = 400;

const POLICY: &str = r#"version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_*"]
"#;
