//! npm's `oidc-provider` as authorization server: clients that it knows by the URI in their certificate or by exactly their
//! certificate, signed and opaque tokens, questions about them, their end, and tokens that are bound by proofs of possession.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::estate::{Estate, Upstream};
use super::set_up;
use crate::program::{Ended, Running, run, succeed};

/// An estate whose agents have an authorization server.
struct Sso {
    estate: Estate,
    provider: Running,
    issuer: String,
}

impl Sso {
    fn start() -> Result<Option<Self>> {
        let (Some(binary), Some((node, home))) = (set_up::countermark(), set_up::node()) else {
            return Ok(None);
        };
        let estate = Estate::new(&binary, "tools = [\"read_balance\"]\nscopes = [\"ledger.read\"]")?;
        estate.mint("server", "sso", &["--dns", "localhost"])?;
        estate.mint("agent", "intern-bot", &[])?;
        let mut provider = Command::new(node);
        provider.current_dir(home).arg(set_up::sources().join("typescript/provider.mjs"));
        provider.arg("--identity").arg(estate.path("sso")).arg("--ca").arg(estate.path("ca/root.crt"));
        provider.arg("--pinned").arg(estate.path("billing-bot/tls.crt")).args(["--resource", SIGNED]);
        let mut provider = Running::start(&mut provider)?;
        let issuer = provider.wait_for(|line| line.starts_with("https://").then(|| line.to_owned()))?;
        Ok(Some(Self { estate, provider, issuer }))
    }

    fn token(&self, agent: &str, client: &str, resource: &str, more: &[&str]) -> Result<Ended> {
        let mut token = self.estate.countermark();
        token.args(["token", "--issuer", &self.issuer, "--client-id", client, "--resource", resource]);
        token.args(["--scope", "ledger.read"]).args(more);
        run(token.arg("--identity").arg(self.estate.path(agent)))
    }

    /// What a token says of itself.
    fn facts(&self, client: &str, resource: &str, more: &[&str]) -> Result<Value> {
        let asked = self.token("billing-bot", client, resource, &[more, &["--json"]].concat())?;
        ensure!(asked.succeeded, "{client}: {asked:?}");
        Ok(serde_json::from_str(&asked.stdout)?)
    }

    fn refuses(&self, agent: &str, client: &str, resource: &str, cause: &str) -> Result<()> {
        let asked = self.token(agent, client, resource, &[])?;
        ensure!(!asked.succeeded && asked.stdout.contains(cause), "{agent} as {client}, wanted {cause}: {asked:?}");
        Ok(())
    }

    /// guard that asks the server about every opaque token, and believes an answer for a second.
    fn guard(&self, upstream: String) -> Result<(Running, String)> {
        let tokens = self.estate.path("tokens.toml");
        let issuer = &self.issuer;
        let text = format!(
            "version = 1\ntokens = \"required\"\naudience = \"{OPAQUE}\"\n\n[[issuer]]\nissuer = \"{issuer}\"\n\
             introspection = {{ client_id = \"ledger-guard\", cache_seconds = 1 }}\n\n\
             [[client]]\nclient_id = \"san\"\nagent = \"billing-bot\"\n"
        );
        std::fs::write(&tokens, text)?;
        self.estate.guard_with(&Upstream::Url(upstream), &["--tokens", &tokens.display().to_string()])
    }
}

#[test]
fn a_client_is_known_by_its_certificate() -> Result<()> {
    let Some(sso) = Sso::start()? else { return Ok(()) };
    for client in ["san", "pinned"] {
        let facts = sso.facts(client, SIGNED, &[])?;
        ensure!(facts["binding"] == "certificate" && facts["matches_certificate"] == true, "{client}: {facts}");
        ensure!(facts["client"] == client && facts["audience"] == SIGNED && facts["issuer"] == sso.issuer, "{facts}");
        sso.refuses("intern-bot", client, SIGNED, "invalid_client")?;
    }
    // The next certificate says the same, and is another one.
    sso.estate.mint("agent", "billing-bot", &[])?;
    sso.facts("san", SIGNED, &[])?;
    sso.refuses("billing-bot", "pinned", SIGNED, "invalid_client")
}

#[test]
fn tokens_are_for_the_resource_that_was_named() -> Result<()> {
    let Some(sso) = Sso::start()? else { return Ok(()) };
    ensure!(sso.facts("san", SIGNED, &[])?["audience"] == SIGNED);
    let opaque = sso.facts("san", OPAQUE, &[])?;
    // The provider was asked what it is bound to.
    ensure!(opaque["binding"] == "certificate" && opaque["audience"].is_null(), "{opaque}");
    sso.refuses("billing-bot", "san", "https://elsewhere.example/mcp", "invalid_target")
}

#[test]
fn proofs_of_possession_bind_a_token_to_their_key() -> Result<()> {
    let Some(sso) = Sso::start()? else { return Ok(()) };
    let facts = sso.facts("prover", SIGNED, &["--dpop"])?;
    ensure!(facts["binding"] == "key", "{facts}");
    // It wants proofs of this client.
    sso.refuses("billing-bot", "prover", SIGNED, "invalid_grant")
}

#[test]
fn opaque_tokens_count_until_they_are_revoked() -> Result<()> {
    let (Some(sso), Some(mut python), Some(curl)) = (Sso::start()?, set_up::python(), set_up::installed("curl")) else {
        return Ok(());
    };
    let mut server = Running::start(python.arg(set_up::sources().join("python/server.py")))?;
    let (mut guard, url) = sso.guard(server.url()?)?;
    let call = Call { curl, sso: &sso, url };
    let token = sso.token("billing-bot", "san", OPAQUE, &["--print"])?.stdout.trim().to_owned();

    let (status, body) = call.with("billing-bot", &token)?;
    ensure!(status == 200 && body.contains("cash: 42"), "{status} {body}\n{}", guard.said());
    let (status, body) = call.with("intern-bot", &token)?;
    ensure!(status == 401 && !body.contains("cash: 42"), "stolen: {status} {body}");

    call.revoke(&token)?;
    let revoked = Instant::now();
    while call.with("billing-bot", &token)?.0 == 200 {
        if revoked.elapsed() > PATIENCE {
            bail!("a revoked token is still good after {PATIENCE:?}");
        }
    }
    ensure!(call.with("billing-bot", &token)?.0 == 401);
    Ok(())
}

#[test]
fn connect_has_opaque_tokens_and_revokes_them_at_its_end() -> Result<()> {
    let (Some(mut sso), Some(mut python), Some(curl)) = (Sso::start()?, set_up::python(), set_up::installed("curl"))
    else {
        return Ok(());
    };
    let mut server = Running::start(python.arg(set_up::sources().join("python/server.py")))?;
    let (_guard, url) = sso.guard(server.url()?)?;
    let issuer = sso.issuer.clone();
    let flags = ["--client-id", "san", "--issuer", &issuer, "--resource", OPAQUE, "--revoke"];
    let (connect, served) = sso.estate.connect_listening_with(&url, &flags)?;
    let call = Call { curl, sso: &sso, url: served };
    let (status, body) = call.plainly()?;
    ensure!(status == 200 && body.contains("cash: 42"), "{status} {body}");
    drop(connect);
    sso.provider.wait_for(|line| line.contains("forgotten: a token of san").then_some(())).context("the revocation")
}

/// One call of the one tool, by curl.
struct Call<'a> {
    curl: PathBuf,
    sso: &'a Sso,
    url: String,
}

impl Call<'_> {
    fn with(&self, agent: &str, token: &str) -> Result<(u16, String)> {
        let mut command = self.command(agent);
        self.sent(command.args(["-H", &format!("Authorization: Bearer {token}")]))
    }

    fn plainly(&self) -> Result<(u16, String)> {
        self.sent(&mut Command::new(&self.curl))
    }

    fn command(&self, agent: &str) -> Command {
        let identity = self.sso.estate.path(agent);
        let mut command = Command::new(&self.curl);
        command.arg("--cacert").arg(identity.join("ca.crt")).arg("--cert").arg(identity.join("tls.crt"));
        command.arg("--key").arg(identity.join("tls.key"));
        command
    }

    /// The status and the answer.
    fn sent(&self, command: &mut Command) -> Result<(u16, String)> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_balance","arguments":{},"_meta":{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientInfo":{"name":"curl","version":"1"},
            "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let headers = [
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            "MCP-Protocol-Version: 2026-07-28",
            "Mcp-Method: tools/call",
            "Mcp-Name: read_balance",
        ];
        command.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        command.args(headers.iter().flat_map(|header| ["-H", header]));
        let answer = succeed(command.args(["--data", body, &self.url]))?;
        let (body, status) = answer.rsplit_once('\n').with_context(|| answer.clone())?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009), as anybody would.
    fn revoke(&self, token: &str) -> Result<()> {
        let mut command = self.command("billing-bot");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--data", "client_id=san"]);
        let endpoint = format!("{}/token/revocation", self.sso.issuer);
        succeed(command.args(["--data-urlencode", &format!("token={token}"), &endpoint])).map(drop)
    }
}

const SIGNED: &str = "https://ledger.example/mcp";
const OPAQUE: &str = "https://ledger.example/mcp/opaque";
/// Longer than guard believes an answer.
const PATIENCE: Duration = Duration::from_secs(10);
