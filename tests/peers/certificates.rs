//! Certificates and CRLs before the eyes of others: OpenSSL, GnuTLS and pkilint.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::estate::Estate;
use super::set_up;
use crate::program::{run, succeed};

/// What an authority has made, taken apart into one file each.
struct Minted {
    _estate: Estate,
    /// Every leaf with its name.
    leaves: Vec<(&'static str, PathBuf)>,
    intermediate: PathBuf,
    root: PathBuf,
    /// The CRL of each CA, PEM blocks one after the other.
    crls: Vec<PathBuf>,
    revoked: PathBuf,
}

/// An agent, a server, an administrator, the key types that profiles name, and one revoked agent.
fn mint(binary: &Path) -> Result<Minted> {
    let estate = Estate::new(binary, "tools = [\"*\"]")?;
    // `localhost`, which the estate's own server answers to, is no domain name in pkilint's eyes.
    let server = estate.mint("server", "books", &["--dns", "books.internal", "--ip", "127.0.0.1"])?;
    let mut leaves = vec![("agent", leaf(&estate.path("billing-bot"))?), ("server", leaf(&server)?)];
    let admin = estate.mint("admin", "root-admin", &[])?;
    leaves.push(("admin", leaf(&admin)?));
    for (name, words) in KEYS {
        leaves.push((name, leaf(&of_request(&estate, name, words)?)?));
    }
    let revoked = leaf(&estate.mint("agent", "fired-bot", &[])?)?;
    let ca = estate.path("ca");
    let mut revoke = estate.countermark();
    succeed(revoke.args(["ca", "revoke", "fired-bot", "--ca"]).arg(&ca))?;
    let crls = split(&ca.join("crl.pem"))?;
    Ok(Minted {
        leaves,
        intermediate: ca.join("intermediate.crt"),
        root: ca.join("root.crt"),
        crls,
        revoked,
        _estate: estate,
    })
}

#[test]
fn openssl_agrees() -> Result<()> {
    let (Some(binary), Some(openssl)) = (set_up::countermark(), set_up::installed("openssl")) else {
        return Ok(());
    };
    let minted = mint(&binary)?;
    let verify = |purpose: &str, leaf: &Path| {
        let mut command = Command::new(&openssl);
        command.args(["verify", "-x509_strict", "-check_ss_sig", "-crl_check_all"]);
        command.args(["-purpose", purpose, "-no-CApath", "-no-CAstore"]);
        for crl in &minted.crls {
            command.arg("-CRLfile").arg(crl);
        }
        command.arg("-CAfile").arg(&minted.root);
        command.arg("-untrusted").arg(&minted.intermediate);
        run(command.arg(leaf))
    };
    for (name, leaf) in &minted.leaves {
        for purpose in ["sslclient", "sslserver"] {
            let ended = verify(purpose, leaf)?;
            ensure!(ended.succeeded, "{name} as {purpose}: {ended:?}");
        }
    }
    let ended = verify("sslclient", &minted.revoked)?;
    let said = ended.stderr.contains("certificate revoked");
    ensure!(!ended.succeeded && said, "the revoked one: {ended:?}");
    for crl in &minted.crls {
        let mut command = Command::new(&openssl);
        succeed(command.args(["crl", "-noout", "-text", "-in"]).arg(crl))?;
    }
    Ok(())
}

#[test]
fn certtool_agrees() -> Result<()> {
    let (Some(binary), Some(certtool)) = (set_up::countermark(), set_up::installed("certtool")) else {
        return Ok(());
    };
    if set_up::installed("openssl").is_none() {
        return Ok(());
    }
    let minted = mint(&binary)?;
    let crls = tempfile::NamedTempFile::new()?;
    let all = minted.crls.iter().map(std::fs::read_to_string);
    std::fs::write(crls.path(), all.collect::<Result<Vec<_>, _>>()?.concat())?;
    let verify = |leaf: &Path| {
        let chain = tempfile::NamedTempFile::new()?;
        let text = std::fs::read_to_string(leaf)? + &std::fs::read_to_string(&minted.intermediate)?;
        std::fs::write(chain.path(), text)?;
        let mut command = Command::new(&certtool);
        command.args(["--verify", "--verify-profile", "medium", "--load-ca-certificate"]);
        command.arg(&minted.root).arg("--load-crl").arg(crls.path());
        run(command.arg("--infile").arg(chain.path()))
    };
    for (name, leaf) in &minted.leaves {
        let ended = verify(leaf)?;
        ensure!(ended.succeeded, "{name}: {ended:?}");
    }
    let ended = verify(&minted.revoked)?;
    ensure!(!ended.succeeded, "the revoked one passes: {ended:?}");
    for crl in &minted.crls {
        let mut command = Command::new(&certtool);
        succeed(command.args(["--crl-info", "--infile"]).arg(crl))?;
    }
    Ok(())
}

#[test]
fn pkilint_agrees() -> Result<()> {
    let (Some(binary), Some(python)) = (set_up::countermark(), set_up::python()) else {
        return Ok(());
    };
    if set_up::installed("openssl").is_none() {
        return Ok(());
    }
    let minted = mint(&binary)?;
    let certificates = minted.leaves.iter().map(|(name, leaf)| (*name, leaf));
    let authorities = [("intermediate", &minted.intermediate), ("root", &minted.root)];
    for (name, file) in certificates.chain(authorities) {
        let findings = pkilint(&python, "lint_pkix_cert", file)?;
        ensure!(findings.is_empty(), "{name}: {findings:#?}");
    }
    for crl in &minted.crls {
        let findings = pkilint(&python, "lint_crl", crl)?;
        ensure!(findings.is_empty(), "{}: {findings:#?}", crl.display());
    }
    Ok(())
}

/// A certificate for a key that OpenSSL made and that never leaves where it is.
fn of_request(estate: &Estate, name: &str, words: &[&str]) -> Result<PathBuf> {
    let (key, request) = (estate.path("request.key"), estate.path("request.csr"));
    let mut generate = Command::new("openssl");
    succeed(generate.args(["genpkey", "-algorithm"]).args(words).arg("-out").arg(&key))?;
    let mut ask = Command::new("openssl");
    ask.args(["req", "-new", "-subj", "/CN=whoever", "-key"]).arg(&key);
    succeed(ask.arg("-out").arg(&request))?;
    estate.mint("agent", name, &["--csr", &request.display().to_string()])
}

/// Every kind of key that the profiles certify, in OpenSSL's words.
const KEYS: [(&str, &[&str]); 4] = [
    ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("ed25519", &["ed25519"]),
    ("rsa3072", &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
];

/// What pkilint finds, from warnings up, except that it takes every `spiffe://` URI for a malformed one.
pub(super) fn pkilint(python: &Command, linter: &str, file: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(python.get_program());
    let environment = python.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.envs(environment).args(["-m", &format!("pkilint.bin.{linter}"), "lint"]);
    if linter == "lint_crl" {
        command.args(["--profile", "PKIX", "--type", "CRL"]);
    }
    let ended = run(command.args(["--severity", "WARNING", "--format", "CSV"]).arg(file))?;
    let mut lines = ended.stdout.lines();
    lines.next().with_context(|| format!("pkilint says nothing: {}", ended.stderr))?;
    let known = |line: &&str| !line.is_empty() && !line.contains("pkix.invalid_uri_syntax");
    Ok(lines.filter(known).map(str::to_owned).collect())
}

/// The first certificate of an identity directory, in a file of its own.
pub(super) fn leaf(identity: &Path) -> Result<PathBuf> {
    let blocks = split(&identity.join("tls.crt"))?;
    blocks.into_iter().next().context("a chain has a leaf")
}

/// Each PEM block of a file in a file of its own beside it.
pub(super) fn split(file: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut files = Vec::new();
    for (number, block) in text.split("-----BEGIN ").skip(1).enumerate() {
        let path = file.with_extension(format!("{number}.pem"));
        // What stands between two blocks belongs to neither.
        let (body, _) = block.split_once("\n-----END ").context("a block has an end")?;
        let label = block.split("-----").next().unwrap_or_default();
        std::fs::write(&path, format!("-----BEGIN {body}\n-----END {label}-----\n"))?;
        files.push(path);
    }
    ensure!(!files.is_empty(), "{} holds no PEM block", file.display());
    Ok(files)
}
