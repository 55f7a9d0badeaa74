//! Sessions outlive certificates: the Python client and an npm server at both ends of connect and guard, whose credentials
//! rotate while the session is open.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::estate::{Estate, Upstream};
use super::rotation::Rotation;
use super::set_up;
use crate::program::Running;

#[test]
fn a_session_of_2025_outlives_the_certificates_of_both_ends() -> Result<()> {
    outlives("legacy")
}

#[test]
fn calls_of_2026_outlive_the_certificates_of_both_ends() -> Result<()> {
    outlives("auto")
}

fn outlives(mode: &str) -> Result<()> {
    let (Some(binary), Some(mut python), Some((node, home))) =
        (set_up::countermark(), set_up::python(), set_up::node())
    else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"echo\"]")?;
    let (_authority, authority) = estate.authority()?;
    let (_guard, url) = estate.guard(&everything(&node, &home))?;
    let address = url.trim_start_matches("https://").trim_end_matches("/mcp").replace("localhost", "127.0.0.1");
    let rotation = Rotation::start(&estate, "rotate.toml", &configuration(&authority, &address))?;

    python.arg(set_up::sources().join("python/session.py"));
    python.args(["--mode", mode, "--tool", "echo", "--arguments", r#"{"message":"hello"}"#, "--"]);
    let mut session = Running::start(python.args(estate.connect(&url)))?;
    calls(&mut session)?;
    for _ in 0..ROUNDS {
        let server = rotation.renew("ledger")?;
        rotation.succeeded("ledger", server["serial"].as_str().context("a serial")?)?;
        calls(&mut session)?;
        let agent = rotation.renew("billing-bot")?;
        let serial = agent["serial"].as_str().context("a serial")?;
        // guard's word for it: the calls now come with the next certificate.
        for _ in 0..CALLS {
            calls(&mut session)?;
            if estate.audit()?.contains(serial) {
                break;
            }
        }
        ensure!(estate.audit()?.contains(serial), "the agent still calls with its old certificate");
    }
    let said = session.said();
    ensure!(!said.contains("failed"), "calls failed:\n{said}");
    let opened = estate.audit()?.lines().filter(|line| line.contains("\"method\":\"initialize\"")).count();
    ensure!(opened <= 1, "the session was opened {opened} times");
    Ok(())
}

/// Waits until some more calls were answered.
fn calls(session: &mut Running) -> Result<()> {
    session.wait_for(|line| line.starts_with("calls ").then_some(())).context("calls")
}

fn everything(node: &Path, home: &Path) -> Upstream {
    let server = home.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let command = [node.display().to_string(), server.display().to_string(), "stdio".to_owned()];
    Upstream::Command { command: command.to_vec(), environment: Vec::new() }
}

fn configuration(authority: &str, guard: &str) -> String {
    let credential = |name: &str, role: &str, more: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nidentity = \"spiffe://agents.internal/{role}/{name}\"\n\
             issuer = \"authority\"\ndirectory = \"{name}\"\n{more}\n"
        )
    };
    let probe = format!("probe = {{ address = \"{guard}\" }}\n");
    format!(
        "version = 1\nsocket = \"rotate.sock\"\n\n[[issuer]]\nname = \"authority\"\nkind = \"authority\"\n\
         url = \"{authority}\"\n\n{}{}",
        credential("ledger", "server", &probe),
        credential("billing-bot", "agent", "")
    )
}

const ROUNDS: usize = 3;
/// How many more lines of calls may pass until the agent's next certificate is seen.
const CALLS: usize = 20;
