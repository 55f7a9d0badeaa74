//! curl and OpenSSL as an EST client: enrol by an invite, renew by the certificate, and read the authority's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::estate::Estate;
use super::set_up;
use crate::program::{Ended, run, succeed};

/// A client of nothing but curl and OpenSSL.
#[derive(Debug)]
pub(super) struct Client<'a> {
    curl: PathBuf,
    openssl: PathBuf,
    estate: &'a Estate,
    url: String,
}

#[test]
fn curl_and_openssl_enrol_and_renew() -> Result<()> {
    let Some(binary) = set_up::countermark() else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    let (_authority, url) = estate.authority()?;
    let Some(client) = Client::new(&estate, &url) else {
        return Ok(());
    };

    let bag = client.fetch("cacerts", &[])?;
    ensure!(bag.succeeded, "{bag:?}");
    let known = client.certificates("cacerts", &bag.stdout)?;
    ensure!(known.matches("BEGIN CERTIFICATE").count() == 2, "root and intermediate: {known}");

    let secret = client.invite("est-bot")?;
    client.request("first")?;
    let login = format!("invite:{secret}");
    let enrolled = client.post("simpleenroll", "first", &["--user", &login])?;
    client.keep("est-bot", "first", &enrolled)?;
    let again = client.post("simpleenroll", "first", &["--user", &login])?;
    ensure!(again.stdout == enrolled.stdout, "the same key gets the same answer");
    client.request("thief")?;
    let stolen = client.post("simpleenroll", "thief", &["--user", &login])?;
    ensure!(stolen.stdout.contains("another key"), "{stolen:?}");

    client.request("second")?;
    let certificate = estate.path("first.crt").display().to_string();
    let key = estate.path("first.key").display().to_string();
    let renewed = client.post("simplereenroll", "second", &["--cert", &certificate, "--key", &key])?;
    client.keep("est-bot", "second", &renewed)?;
    let nobody = client.post("simplereenroll", "second", &[])?;
    ensure!(nobody.stdout.contains("certificate"), "without a certificate: {nobody:?}");
    Ok(())
}

impl<'a> Client<'a> {
    /// A client of the authority at `url`, or `None` after the skip has been printed.
    pub(super) fn new(estate: &'a Estate, url: &str) -> Option<Self> {
        let (curl, openssl) = (set_up::installed("curl")?, set_up::installed("openssl")?);
        Some(Self { curl, openssl, estate, url: url.to_owned() })
    }

    /// A first certificate by an invite, and the next one by that: in `NAME-1.crt` and `NAME-2.crt`.
    pub(super) fn enrol_and_renew(&self, name: &str) -> Result<[PathBuf; 2]> {
        let secret = self.invite(name)?;
        let [first, second] = [1, 2].map(|number| format!("{name}-{number}"));
        self.request(&first)?;
        self.keep(name, &first, &self.post("simpleenroll", &first, &["--user", &format!("invite:{secret}")])?)?;
        self.request(&second)?;
        let [certificate, key] =
            ["crt", "key"].map(|end| self.estate.path(&format!("{first}.{end}")).display().to_string());
        self.keep(name, &second, &self.post("simplereenroll", &second, &["--cert", &certificate, "--key", &key])?)?;
        Ok([first, second].map(|name| self.estate.path(&format!("{name}.crt"))))
    }

    /// The revocation lists, as anybody may have them.
    pub(super) fn lists(&self) -> Result<String> {
        let mut command = self.curl();
        succeed(command.arg(format!("{}/v1/crl", self.url)))
    }

    fn curl(&self) -> Command {
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
        command.arg(self.estate.path("ca").join("root.crt"));
        command
    }

    fn fetch(&self, path: &str, words: &[&str]) -> Result<Ended> {
        let mut command = self.curl();
        run(command.args(words).arg(format!("{}/.well-known/est/{path}", self.url)))
    }

    fn post(&self, path: &str, request: &str, words: &[&str]) -> Result<Ended> {
        let body = format!("@{}", self.estate.path(&format!("{request}.b64")).display());
        let kind = ["-H", "Content-Type: application/pkcs10", "--data-binary", &body];
        self.fetch(path, &[&kind, words].concat())
    }

    /// A key and a request for it, in base64 as EST wants it.
    fn request(&self, name: &str) -> Result<()> {
        let path = |end: &str| self.estate.path(&format!("{name}.{end}"));
        let mut generate = Command::new(&self.openssl);
        generate.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
        succeed(generate.arg(path("key")))?;
        let mut ask = Command::new(&self.openssl);
        ask.args(["req", "-new", "-subj", "/CN=whoever", "-outform", "DER", "-key"]).arg(path("key"));
        succeed(ask.arg("-out").arg(path("csr")))?;
        let mut encode = Command::new(&self.openssl);
        encode.args(["base64", "-in"]).arg(path("csr")).arg("-out").arg(path("b64"));
        succeed(&mut encode).map(drop)
    }

    fn invite(&self, name: &str) -> Result<String> {
        let file = self.estate.path("est.invite");
        let mut invite = self.estate.countermark();
        invite.args(["ca", "invite", "agent", name, "--ca"]).arg(self.estate.path("ca")).arg("--out").arg(&file);
        succeed(&mut invite)?;
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("secret = \""));
        Ok(line.context("a secret")?.trim_end_matches('"').to_owned())
    }

    /// Takes a bag apart, as EST clients do.
    fn certificates(&self, name: &str, bag: &str) -> Result<String> {
        let file = self.estate.path(&format!("{name}.p7"));
        std::fs::write(&file, format!("-----BEGIN PKCS7-----\n{bag}-----END PKCS7-----\n"))?;
        let mut command = Command::new(&self.openssl);
        succeed(command.args(["pkcs7", "-print_certs", "-in"]).arg(&file))
    }

    /// Keeps the certificate that was answered, which must be for the key and lead to the root.
    fn keep(&self, agent: &str, name: &str, answer: &Ended) -> Result<()> {
        let certificates = self.certificates(name, &answer.stdout).with_context(|| format!("{answer:?}"))?;
        ensure!(certificates.matches("BEGIN CERTIFICATE").count() == 1, "the certificate alone: {certificates}");
        let path = |end: &str| self.estate.path(&format!("{name}.{end}"));
        std::fs::write(path("crt"), &certificates)?;
        let ca = self.estate.path("ca");
        let mut verify = Command::new(&self.openssl);
        verify.args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"]).arg(ca.join("root.crt"));
        succeed(verify.arg("-untrusted").arg(ca.join("intermediate.crt")).arg(path("crt")))?;
        let public = |words: &[&str], file: &Path| {
            let mut command = Command::new(&self.openssl);
            succeed(command.args(words).arg("-in").arg(file))
        };
        let certified = public(&["x509", "-noout", "-pubkey"], &path("crt"))?;
        ensure!(certified == public(&["pkey", "-pubout"], &path("key"))?, "another key was certified");
        let text = public(&["x509", "-noout", "-ext", "subjectAltName"], &path("crt"))?;
        ensure!(text.contains(&format!("spiffe://agents.internal/agent/{agent}")), "{text}");
        Ok(())
    }
}
