//! Third-party servers behind guard: one allowed call, one denied, and the list without what is denied.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::clients::Errand;
use super::estate::{Estate, Upstream};
use super::set_up;
use crate::program::Running;

/// Puts guard before `upstream` and has a client call what it may and what it may not.
fn stands_behind_guard(upstream: &Upstream, errand: &Errand<'_>) -> Result<()> {
    let Some(binary) = set_up::countermark() else {
        return Ok(());
    };
    let estate = Estate::new(&binary, &format!("tools = [\"{}\"]", errand.allow))?;
    let (mut guard, url) = estate.guard(upstream)?;
    errand.run_by_rmcp(&estate, &url).with_context(|| format!("guard said:\n{}", guard.said()))
}

fn stdio(command: &[&Path], words: &[&str], environment: &[String]) -> Upstream {
    let command = command.iter().map(|path| path.display().to_string());
    Upstream::Command {
        command: command.chain(words.iter().map(|word| (*word).to_owned())).collect(),
        environment: environment.to_vec(),
    }
}

const LEDGER: Errand<'_> = Errand { allow: "read_balance", arguments: "{}", deny: "drop_ledger" };

const FIXTURE: Errand<'_> = Errand { allow: "test_simple_text", arguments: "{}", deny: "test_image_content" };

const EVERYTHING: Errand<'_> = Errand { allow: "echo", arguments: r#"{"message":"hello"}"#, deny: "get-env" };

#[test]
fn everything_over_http() -> Result<()> {
    let Some((node, home)) = set_up::node() else {
        return Ok(());
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Running::start(
        Command::new(node).arg(home.join(npm("server-everything"))).arg("streamableHttp").env("PORT", port.to_string()),
    )?;
    server.wait_for(|line| line.contains("listening on port").then_some(()))?;
    let upstream = Upstream::Url(format!("http://127.0.0.1:{port}/mcp"));
    stands_behind_guard(&upstream, &EVERYTHING)
}

#[test]
fn everything_over_stdio() -> Result<()> {
    let Some((node, home)) = set_up::node() else {
        return Ok(());
    };
    let server = home.join(npm("server-everything"));
    stands_behind_guard(&stdio(&[&node, &server], &["stdio"], &[]), &EVERYTHING)
}

#[test]
fn filesystem_over_stdio() -> Result<()> {
    let Some((node, home)) = set_up::node() else {
        return Ok(());
    };
    let served = tempfile::tempdir()?;
    std::fs::write(served.path().join("note.txt"), "a note")?;
    let arguments = serde_json::json!({ "path": served.path() }).to_string();
    let errand = Errand { allow: "list_directory", arguments: &arguments, deny: "write_file" };
    let server = home.join(npm("server-filesystem"));
    stands_behind_guard(&stdio(&[&node, &server, served.path()], &[], &[]), &errand)
}

#[test]
fn memory_over_stdio() -> Result<()> {
    let Some((node, home)) = set_up::node() else {
        return Ok(());
    };
    let kept = tempfile::tempdir()?;
    let errand = Errand { allow: "read_graph", arguments: "{}", deny: "delete_entities" };
    let server = home.join(npm("server-memory"));
    let file = format!("MEMORY_FILE_PATH={}", kept.path().join("memory.jsonl").display());
    stands_behind_guard(&stdio(&[&node, &server], &[], &[file]), &errand)
}

#[test]
fn python_over_http() -> Result<()> {
    let Some(mut python) = set_up::python() else {
        return Ok(());
    };
    let mut server = Running::start(python.arg(set_up::sources().join("python/server.py")))?;
    stands_behind_guard(&Upstream::Url(server.url()?), &LEDGER)
}

#[test]
fn python_over_stdio() -> Result<()> {
    let Some(python) = set_up::python() else {
        return Ok(());
    };
    let environment: Vec<_> = python
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display())))
        .collect();
    let program = Path::new(python.get_program());
    let server = set_up::sources().join("python/server.py");
    stands_behind_guard(&stdio(&[program, &server], &["--stdio"], &environment), &LEDGER)
}

#[test]
fn java_over_http() -> Result<()> {
    let (Some(home), Some(java)) = (set_up::find("java"), set_up::installed("java")) else {
        return Ok(());
    };
    let mut server = Running::start(Command::new(java).args(["-cp", &class_path(&home), "Ledger"]))?;
    stands_behind_guard(&Upstream::Url(server.url()?), &LEDGER)
}

#[test]
fn java_over_stdio() -> Result<()> {
    let (Some(home), Some(java)) = (set_up::find("java"), set_up::installed("java")) else {
        return Ok(());
    };
    let words = ["-cp", &class_path(&home), "Ledger", "--stdio"];
    stands_behind_guard(&stdio(&[&java], &words, &[]), &LEDGER)
}

#[test]
fn rmcp_over_http() -> Result<()> {
    let Some(fixture) = set_up::fixture() else {
        return Ok(());
    };
    let mut server = Running::start(Command::new(fixture).arg("server"))?;
    stands_behind_guard(&Upstream::Url(server.url()?), &FIXTURE)
}

#[test]
fn rmcp_over_stdio() -> Result<()> {
    let Some(fixture) = set_up::fixture() else {
        return Ok(());
    };
    stands_behind_guard(&stdio(&[&fixture], &["server", "--stdio"], &[]), &FIXTURE)
}

fn npm(server: &str) -> String {
    format!("node_modules/@modelcontextprotocol/{server}/dist/index.js")
}

fn class_path(home: &Path) -> String {
    let built = home.join("target");
    format!("{0}/ledger-1.jar:{0}/dependency/*", built.display())
}
