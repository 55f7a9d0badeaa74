//! Authlib, and joserfc beneath it, on what our client proves itself with: assertions (RFC 7523) and proofs of possession
//! (RFC 9449), each with a nonce at the second try.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::estate::Estate;
use super::set_up;
use crate::program::{Running, run, succeed};

/// A kind of key, how OpenSSL makes one, and the algorithm that we sign with it.
const KEYS: &[(&str, &[&str], &str)] = &[
    ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "ES256"),
    ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "ES384"),
    ("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "PS256"),
    ("ed25519", &["ED25519"], "EdDSA"),
];

#[test]
fn takes_our_assertions_and_proofs() -> Result<()> {
    let (Some(binary), Some(mut python), Some(openssl)) =
        (set_up::countermark(), set_up::python(), set_up::installed("openssl"))
    else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    estate.mint("server", "sso", &["--dns", "localhost"])?;
    python.arg(set_up::sources().join("python/token_endpoint.py")).arg("--identity").arg(estate.path("sso"));
    python.arg("--client").arg(format!("own={}", estate.path("billing-bot/tls.crt").display()));
    for (name, kind, _) in KEYS {
        generate(&estate, &openssl, name, kind)?;
        python.arg("--client").arg(format!("{name}={}", estate.path(&format!("{name}.pub")).display()));
    }
    let mut server = Running::start(&mut python)?;
    let issuer = server.wait_for(|line| line.starts_with("https://").then(|| line.to_owned()))?;

    judged(&mut server, &mut ask(&estate, &issuer, "own"), "own", "ES256")?;
    for (name, _, algorithm) in KEYS {
        let mut ask = ask(&estate, &issuer, name);
        judged(&mut server, ask.arg("--client-key").arg(estate.path(&format!("{name}.key"))), name, algorithm)?;
    }

    // It can say no.
    let mut ask = ask(&estate, &issuer, "p256");
    let refused = run(ask.arg("--client-key").arg(estate.path("rsa.key")))?;
    ensure!(!refused.succeeded && refused.stdout.contains("invalid_client"), "{refused:?}");
    Ok(())
}

fn generate(estate: &Estate, openssl: &Path, name: &str, kind: &[&str]) -> Result<()> {
    let (key, public) = (estate.path(&format!("{name}.key")), estate.path(&format!("{name}.pub")));
    succeed(Command::new(openssl).args(["genpkey", "-algorithm"]).args(kind).arg("-out").arg(&key))?;
    succeed(Command::new(openssl).args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public)).map(drop)
}

fn ask(estate: &Estate, issuer: &str, client: &str) -> Command {
    let mut token = estate.countermark();
    token.args(["token", "--issuer", issuer, "--client-id", client, "--identity"]).arg(estate.path("billing-bot"));
    token.args(["--resource", "https://ledger.example/mcp", "--scope", "ledger.write", "--scope", "ledger.read"]);
    token.args(["--client-auth", "private-key-jwt", "--dpop"]);
    token
}

/// The client comes with a good assertion and a good proof, and again with new ones when it is told a nonce.
fn judged(server: &mut Running, ask: &mut Command, client: &str, algorithm: &str) -> Result<()> {
    let asked = run(ask)?;
    for nonce in [false, true] {
        let line = server.wait_for(|line| line.starts_with('{').then(|| line.to_owned()))?;
        let seen: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(seen["faults"] == Value::Array(Vec::new()), "{client}: {line}");
        ensure!(seen["nonce"] == nonce && seen["algorithm"] == algorithm && seen["client_id"] == client, "{line}");
        ensure!(
            seen["grant_type"] == "client_credentials" && seen["resource"] == "https://ledger.example/mcp",
            "{line}"
        );
        ensure!(seen["scope"] == "ledger.read ledger.write", "{line}");
    }
    ensure!(asked.succeeded, "{client}: {asked:?}");
    Ok(())
}
