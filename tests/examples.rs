//! The examples run, and talk to each other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use countermark::credential::Credential;
use countermark::credential::directory::{Delivery, DomainCrls, deliver};
use countermark::identity::Clock as _;
use countermark_testkit::TestCa;

use crate::program::{Running, succeed};

#[test]
fn the_client_calls_what_the_server_permits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let ca = TestCa::new("agents.internal");
    put(&ca, ca.server("ledger"), &path("ledger"))?;
    put(&ca, ca.agent("billing-bot"), &path("billing-bot"))?;
    std::fs::write(path("policy.toml"), POLICY)?;

    let mut server = Command::new(example("mcp_server")?);
    let mut server = Running::start(server.arg(path("ledger")).arg(path("policy.toml")))?;
    let url = server.url()?;
    let call = |tool: &str| {
        let mut client = Command::new(example("mcp_client")?);
        succeed(client.arg(path("billing-bot")).args([&url, "ledger", tool]))
    };

    let allowed = call("read_balance")?;
    ensure!(allowed.contains("billing-bot reads 42 by grant 1"), "{allowed}");
    ensure!(!allowed.contains("drop_ledger"), "the list: {allowed}");
    ensure!(allowed.contains("connections: 1"), "many calls, one connection: {allowed}");
    let denied = call("drop_ledger")?;
    ensure!(denied.contains("drop_ledger` is not available to `billing-bot`"), "{denied}");
    let audit = server.said();
    ensure!(audit.contains("drop_ledger"), "the audit: {audit}");
    Ok(())
}

/// Puts a credential where a program finds it, with the trust of its authority.
fn put(ca: &TestCa, credential: Arc<Credential>, folder: &Path) -> Result<()> {
    let crls = DomainCrls { trust_domain: ca.trust_domain().clone(), crls: ca.crls() };
    let delivery = Delivery { credential, bundles: vec![ca.bundle()], crls: vec![crls] };
    deliver(folder, &delivery, ca.clock().now())?;
    Ok(())
}

/// An example, which cargo builds beside the tests.
fn example(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent);
    Ok(profile.context("the test lies in deps")?.join("examples").join(name))
}

const POLICY: &str = r#"
version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_*"]
"#;
