//! Third-party clients: straight to guard over mTLS with their own TLS stack, and through `connect` in both of its shapes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::estate::{Estate, Upstream};
use super::set_up;
use crate::program::{Running, succeed};

/// Who calls.
#[derive(Clone, Copy, Debug)]
enum Client {
    Python,
    TypeScript,
    TypeScriptSdk,
    Rmcp,
    RmcpModern,
}

/// Which way the call takes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    ConnectStdio,
    ConnectListen,
}

/// What a client is told to do and how its report is judged.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) allow: &'a str,
    pub(super) arguments: &'a str,
    pub(super) deny: &'a str,
}

impl Errand<'_> {
    fn flags(&self) -> [&str; 6] {
        let Self { allow, arguments, deny } = self;
        ["--allow", allow, "--arguments", arguments, "--deny", deny]
    }

    /// Has the rmcp client run the errand straight against guard.
    pub(super) fn run_by_rmcp(&self, estate: &Estate, url: &str) -> Result<()> {
        let fixture = set_up::fixture().context("the fixture is built")?;
        let mut client = Command::new(fixture);
        client.args(["client", "--url", url]).args(self.flags());
        client.arg("--identity").arg(estate.path("billing-bot"));
        self.judge(&succeed(&mut client)?)
    }

    /// The allowed tool answers, the denied one is told so by name and does not even show in the list.
    fn judge(&self, report: &str) -> Result<()> {
        let line = report.lines().last().context("the client reports nothing")?;
        let report: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let listed = |tool: &str| {
            let tools = report["tools"].as_array().into_iter().flatten();
            tools.into_iter().any(|listed| listed == tool)
        };
        ensure!(listed(self.allow), "{} is not listed: {line}", self.allow);
        ensure!(!listed(self.deny), "{} is listed: {line}", self.deny);
        let allowed = &report["allowed"]["result"];
        ensure!(allowed.is_object() && allowed["isError"] != true, "the allowed call: {line}");
        let denied = &report["denied"];
        let message = denied["message"].as_str().unwrap_or_default();
        ensure!(denied["code"] == -32602, "the denied call's code: {line}");
        let said = format!("{}` is not available to `billing-bot`", self.deny);
        ensure!(message.contains(&said), "the denied call's message: {line}");
        Ok(())
    }
}

fn calls(client: Client, way: Way) -> Result<()> {
    let (Some(binary), Some(fixture)) = (set_up::countermark(), set_up::fixture()) else {
        return Ok(());
    };
    let Some(mut command) = client.command() else {
        return Ok(());
    };
    let mut server = Running::start(Command::new(fixture).arg("server"))?;
    let estate = Estate::new(&binary, "tools = [\"test_simple_*\"]")?;
    let (_guard, url) = estate.guard(&Upstream::Url(server.url()?))?;
    let errand = Errand { allow: "test_simple_text", arguments: "{}", deny: "test_image_content" };
    command.args(errand.flags());
    let mut _connect = None;
    match way {
        Way::Direct => {
            command.args(["--url", &url]);
            command.arg("--identity").arg(estate.path("billing-bot"));
        }
        Way::ConnectStdio => {
            command.arg("--").args(estate.connect(&url));
        }
        Way::ConnectListen => {
            let (connect, url) = estate.connect_listening(&url)?;
            command.args(["--url", &url]);
            _connect = Some(connect);
        }
    }
    errand.judge(&succeed(&mut command)?)?;
    let audit = estate.audit()?;
    ensure!(audit.contains("test_simple_text"), "the audit: {audit}");
    ensure!(audit.contains("test_image_content"), "the audit: {audit}");
    Ok(())
}

impl Client {
    fn command(self) -> Option<Command> {
        let script = |sdk: &str| {
            let (node, home) = set_up::node()?;
            let mut command = Command::new(node);
            command.current_dir(home);
            command.arg(set_up::sources().join("typescript/client.mjs"));
            command.args(["--sdk", sdk]);
            Some(command)
        };
        match self {
            Self::Python => {
                let mut command = set_up::python()?;
                command.arg(set_up::sources().join("python/client.py"));
                Some(command)
            }
            Self::TypeScript => script("client"),
            Self::TypeScriptSdk => script("sdk"),
            Self::Rmcp | Self::RmcpModern => {
                let mut command = Command::new(set_up::fixture()?);
                command.arg("client");
                if matches!(self, Self::RmcpModern) {
                    command.arg("--modern");
                }
                Some(command)
            }
        }
    }
}

/// A test for each client and way.
macro_rules! each {
    ($($name:ident: $client:ident by $way:ident;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            calls(Client::$client, Way::$way)
        }
    )*};
}

each! {
    python_directly: Python by Direct;
    python_through_connect: Python by ConnectStdio;
    python_through_connect_listening: Python by ConnectListen;
    typescript_directly: TypeScript by Direct;
    typescript_through_connect: TypeScript by ConnectStdio;
    typescript_through_connect_listening: TypeScript by ConnectListen;
    typescript_sdk_directly: TypeScriptSdk by Direct;
    typescript_sdk_through_connect: TypeScriptSdk by ConnectStdio;
    typescript_sdk_through_connect_listening: TypeScriptSdk by ConnectListen;
    rmcp_directly: Rmcp by Direct;
    rmcp_through_connect: Rmcp by ConnectStdio;
    rmcp_through_connect_listening: Rmcp by ConnectListen;
    rmcp_of_2026_directly: RmcpModern by Direct;
    rmcp_of_2026_through_connect: RmcpModern by ConnectStdio;
    rmcp_of_2026_through_connect_listening: RmcpModern by ConnectListen;
}
