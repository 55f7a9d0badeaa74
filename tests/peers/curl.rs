//! curl, with nothing but a certificate: one tool answers, another is denied, and without a certificate nothing is said.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::estate::{Estate, Upstream};
use super::set_up;
use crate::program::{Ended, Running, run};

#[test]
fn a_tool_answers_and_another_is_denied() -> Result<()> {
    let (Some(binary), Some(fixture)) = (set_up::countermark(), set_up::fixture()) else {
        return Ok(());
    };
    let Some(curl) = set_up::installed("curl") else {
        return Ok(());
    };
    let mut server = Running::start(Command::new(fixture).arg("server"))?;
    let estate = Estate::new(&binary, "tools = [\"test_simple_text\"]")?;
    let (_guard, url) = estate.guard(&Upstream::Url(server.url()?))?;
    let agent = estate.path("billing-bot");

    let allowed = call(&curl, &url, Some(&agent), &agent, "test_simple_text")?;
    ensure!(allowed.stdout.contains("A short text"), "allowed: {allowed:?}");

    let denied = call(&curl, &url, Some(&agent), &agent, "test_image_content")?;
    let answer: Value = serde_json::from_str(denied.stdout.trim())?;
    ensure!(answer["error"]["code"] == -32602, "denied: {denied:?}");
    ensure!(answer["error"]["data"]["decision"].is_string(), "denied: {denied:?}");

    let stranger = call(&curl, &url, None, &agent, "test_simple_text")?;
    ensure!(!stranger.succeeded && stranger.stdout.is_empty(), "{stranger:?}");
    Ok(())
}

fn call(curl: &Path, url: &str, identity: Option<&Path>, trust: &Path, tool: &str) -> Result<Ended> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}},"_meta":{{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientInfo":{{"name":"curl","version":"1"}},
        "io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let mut command = Command::new(curl);
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
    command.arg(trust.join("ca.crt"));
    if let Some(folder) = identity {
        command.arg("--cert").arg(folder.join("tls.crt"));
        command.arg("--key").arg(folder.join("tls.key"));
    }
    let headers = [
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        &format!("Mcp-Name: {tool}"),
    ];
    command.args(headers.iter().flat_map(|header| ["-H", header]));
    run(command.args(["--data", &body, url]))
}
