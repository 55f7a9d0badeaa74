//! What to try next, with absolute paths: curl, a Python client, an MCP host.

use serde_json::json;

use super::estate::Estate;
use crate::{
    failure::{Explain, Outcome},
    output::{BOLD, line},
    rpc,
};

/// Prints three things to try, while everything stays up.
pub(super) fn tell(estate: &Estate) -> Outcome<()> {
    let python = estate.dir.join("try.py");
    std::fs::write(&python, script(estate)).or_failed(format!("cannot write {}", python.display()), "")?;
    line(format!("\n{BOLD}It stays up at {} and renews by itself. Try:{BOLD:#}", estate.url()))?;
    line(format!("\n{BOLD}1. curl{BOLD:#}\n{}", curl(estate)?))?;
    let venv = estate.dir.join("venv");
    line(format!(
        "\n{BOLD}2. a Python client{BOLD:#}\npython3 -m venv {venv} && {venv}/bin/pip install --quiet 'mcp==2.3.*' httpx2 \\\n  && {venv}/bin/python {python}",
        venv = venv.display(),
        python = python.display()
    ))?;
    line(format!("\n{BOLD}3. an MCP host: put this into its configuration{BOLD:#}\n{}", host(estate)?))?;
    line(format!("\nThe policy is {}: change it, and it counts at once. Ctrl-C ends.", estate.policy.display()))
}

fn curl(estate: &Estate) -> Outcome<String> {
    let (id, url) = (estate.billing.directory().display(), estate.url());
    let request = rpc::call(&url, 1, "read_balance", json!({}))?;
    let mut command = format!("curl -sS --cacert {id}/ca.crt --cert {id}/tls.crt --key {id}/tls.key {url}");
    for (name, value) in request.headers() {
        command.push_str(&format!(" \\\n  -H '{name}: {}'", value.to_str().unwrap_or_default()));
    }
    command.push_str(&format!(" \\\n  -d '{}'", String::from_utf8_lossy(request.body())));
    Ok(command)
}

fn host(estate: &Estate) -> Outcome<String> {
    let program = std::env::current_exe().or_failed("cannot find the path of this program", "")?;
    let configuration = json!({"mcpServers": {"ledger": {
        "command": program,
        "args": ["connect", "--to", estate.url(), "--identity", estate.billing.directory(), "--server", "ledger"],
    }}});
    Ok(serde_json::to_string_pretty(&configuration)?)
}

fn script(estate: &Estate) -> String {
    let id = estate.billing.directory();
    // JSON strings are Python strings, too, whatever the path holds.
    let quoted = |path: String| json!(path).to_string();
    include_str!("next.py")
        .replace("URL", &quoted(estate.url()))
        .replace("CA_FILE", &quoted(id.join("ca.crt").display().to_string()))
        .replace("CERT_FILE", &quoted(id.join("tls.crt").display().to_string()))
        .replace("KEY_FILE", &quoted(id.join("tls.key").display().to_string()))
}
