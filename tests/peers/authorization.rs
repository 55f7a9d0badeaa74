//! The conformance suite's authorization scenarios for clients, on `connect`.
//!
//! The suite's servers speak plain HTTP, `connect` speaks TLS alone: `typescript/secure.mjs`, loaded into the suite, serves them
//! in TLS, so that what is signed over a URL is judged as it stands. The suite thinks of people with browsers: most of its checks want a registration and an
//! authorization request, which no machine makes. So each scenario says which checks must pass and which alone may fail,
//! and what the suite asks of scopes in authorization requests is looked at in the token requests that it has recorded.
//!
//! A client with a secret names its authorization server, as `connect` demands; `typescript/machine.mjs` looks it up in the
//! server's metadata in the operator's place, so that there the checks of that look-up are not `connect`'s.
//!
//! What cannot be run, and why:
//! - `auth/dpop` and `auth/dpop-nonce`: only the authorization code grant is taken. Authlib and oidc-provider judge proofs.
//! - `auth/wif-jwt-bearer`, `auth/enterprise-managed-authorization`: other grants than a machine's own.
//! - `auth/basic-cimd`, `auth/iss-*`, `auth/offline-access-*`, `auth/token-endpoint-auth-*`, `auth/2025-03-26-*`: nothing but
//!   registration, authorization requests and their answers, and refresh tokens.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::estate::Estate;
use super::set_up;
use crate::program::run;

/// A scenario, and what is seen of it.
struct Scenario {
    name: &'static str,
    era: Option<&'static str>,
    passes: &'static [&'static str],
    /// What alone may fail.
    not_ours: &'static [&'static str],
    /// The scopes of each token request.
    scopes: &'static [&'static str],
}

const DISCOVERY: &[&str] = &[
    "prm-pathbased-requested",
    "authorization-server-metadata",
    "token-request",
    "resource-parameter-in-token",
    "resource-parameter-valid-uri",
    "resource-parameter-matches-prm",
];
const OF_PEOPLE: &[&str] = &["client-registration", "authorization-request", "resource-parameter-in-authorization"];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client-credentials-basic",
        era: None,
        passes: &["prm-pathbased-requested", "client-credentials-basic-auth", "valid-bearer-token"],
        not_ours: &[],
        scopes: &[""],
    },
    Scenario {
        name: "client-credentials-jwt",
        era: None,
        passes: &["token-request", "client-credentials-jwt-verified", "valid-bearer-token"],
        not_ours: &[],
        scopes: &[""],
    },
    Scenario {
        name: "pre-registration",
        era: None,
        passes: &["pre-registration-auth", "valid-bearer-token"],
        not_ours: &[],
        scopes: &[""],
    },
    Scenario { name: "metadata-default", era: None, passes: DISCOVERY, not_ours: OF_PEOPLE, scopes: &[""] },
    Scenario { name: "metadata-var1", era: None, passes: DISCOVERY, not_ours: OF_PEOPLE, scopes: &[""] },
    Scenario {
        name: "metadata-var2",
        era: None,
        passes: &["authorization-server-metadata", "token-request", "resource-parameter-matches-prm"],
        not_ours: OF_PEOPLE,
        scopes: &[""],
    },
    Scenario { name: "metadata-var3", era: None, passes: DISCOVERY, not_ours: OF_PEOPLE, scopes: &[""] },
    Scenario {
        name: "scope-from-www-authenticate",
        era: None,
        passes: &["token-request"],
        not_ours: &["scope-from-www-authenticate"],
        scopes: &["mcp:basic"],
    },
    Scenario {
        name: "scope-from-scopes-supported",
        era: None,
        passes: &["token-request"],
        not_ours: &["scope-from-scopes-supported"],
        scopes: &["mcp:basic mcp:read mcp:write"],
    },
    Scenario {
        name: "scope-omitted-when-undefined",
        era: None,
        passes: &["token-request"],
        not_ours: &["scope-omitted-when-undefined"],
        scopes: &[""],
    },
    Scenario {
        name: "scope-step-up",
        era: Some("2026-07-28"),
        passes: &["token-request"],
        not_ours: &["scope-step-up-initial", "scope-step-up-escalation", "sep-2350-scope-union-on-reauth"],
        scopes: &["mcp:basic", "mcp:basic mcp:write"],
    },
    Scenario {
        name: "scope-retry-limit",
        era: None,
        passes: &["token-request"],
        not_ours: &["scope-retry-limit"],
        scopes: &["mcp:admin"],
    },
    Scenario {
        name: "resource-mismatch",
        era: Some("2026-07-28"),
        passes: &["resource-mismatch-rejected"],
        not_ours: &[],
        scopes: &[],
    },
    Scenario {
        name: "metadata-issuer-mismatch",
        era: Some("2026-07-28"),
        passes: &["sep-2468-client-validate-metadata-issuer"],
        not_ours: &[],
        scopes: &[],
    },
    // Its user names the client's id and no issuer, so that the called server names it, and another one later. The certificate is
    // all that proves the client, and of no use to whoever sees it.
    Scenario {
        name: "authorization-server-migration",
        era: Some("2026-07-28"),
        passes: &["sep-2352-no-reuse-on-as-change", "sep-2352-no-cross-as-credential-reuse"],
        not_ours: &["sep-2352-reregister-on-as-change"],
        scopes: &["mcp:basic", "mcp:basic"],
    },
];

#[test]
fn connect_does_what_a_machine_can() -> Result<()> {
    let (Some(binary), Some((node, home))) = (set_up::countermark(), set_up::node()) else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    for scenario in SCENARIOS {
        let output = tempfile::tempdir()?;
        let machine = set_up::sources().join("typescript/machine.mjs");
        let client = [node.as_path(), &machine].map(|path| path.display().to_string()).join(" ");
        let (binary, files) = (binary.display(), estate.path("."));
        let mut suite = Command::new(&node);
        suite.env("COUNTERMARK_ESTATE", estate.path(".")).env("NODE_EXTRA_CA_CERTS", estate.path("ca/root.crt"));
        suite.arg("--import").arg(set_up::sources().join("typescript/secure.mjs"));
        suite.arg(home.join("node_modules/@modelcontextprotocol/conformance/dist/index.js")).arg("client");
        let command = format!("{client} --binary {binary} --home {} --server ledger", files.display());
        suite.args(["--command", &command, "--scenario", &format!("auth/{}", scenario.name), "-o"]).arg(output.path());
        suite.args(scenario.era.iter().flat_map(|era| ["--spec-version", era]));
        let ended = run(suite.current_dir(&home))?;
        let checks = checks(output.path())?.with_context(|| format!("{}: {ended:?}", scenario.name))?;
        scenario.judge(&checks).with_context(|| format!("{}: {checks:#?}", scenario.name))?;
    }
    Ok(())
}

impl Scenario {
    fn judge(&self, checks: &[Value]) -> Result<()> {
        let of = |status: &str| -> BTreeSet<&str> {
            let those = checks.iter().filter(|check| check["status"] == status);
            those.filter_map(|check| check["id"].as_str()).collect()
        };
        let (passed, failed) = (of("SUCCESS"), of("FAILURE"));
        let missing: Vec<_> = self.passes.iter().filter(|check| !passed.contains(**check)).collect();
        ensure!(missing.is_empty(), "these do not pass: {missing:?}");
        let unexpected: Vec<_> = failed.iter().filter(|check| !self.not_ours.contains(*check)).collect();
        ensure!(unexpected.is_empty(), "these fail: {unexpected:?}");
        let requests =
            checks.iter().filter(|check| check["id"] == "incoming-auth-request").map(|check| &check["details"]);
        let asked = requests.filter(|seen| seen["path"].as_str().is_some_and(|path| path.ends_with("/token")));
        let scopes: Vec<_> = asked.map(|seen| seen["body"]["scope"].as_str().unwrap_or_default()).collect();
        ensure!(scopes == self.scopes, "the token requests ask for {scopes:?}, and not for {:?}", self.scopes);
        Ok(())
    }
}

/// What the suite has written, in a folder of its own choice.
fn checks(folder: &Path) -> Result<Option<Vec<Value>>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = checks(&path)? {
                return Ok(Some(found));
            }
        } else if path.ends_with("checks.json") {
            return Ok(Some(serde_json::from_str(&std::fs::read_to_string(path)?)?));
        }
    }
    Ok(None)
}
