//! Everything that `ca serve` hands out, before the eyes of OpenSSL and pkilint: enrolled by EST and by an invite, renewed by
//! EST and by `rotate`, minted from afar, its own certificate, its lists.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::certificates::{leaf, pkilint, split};
use super::est::Client;
use super::estate::Estate;
use super::rotation::Rotation;
use super::set_up;
use crate::program::{Running, run, succeed};

#[test]
fn openssl_and_pkilint_agree_with_everything_that_is_issued() -> Result<()> {
    let (Some(binary), Some(python), Some(openssl)) =
        (set_up::countermark(), set_up::python(), set_up::installed("openssl"))
    else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    let (_authority, url) = estate.authority()?;
    let Some(client) = Client::new(&estate, &url) else { return Ok(()) };
    let mut leaves = issued(&estate, &client, &url)?;
    leaves.push(("the authority's own", own(&estate, &openssl)?));
    std::fs::write(estate.path("served-crl.pem"), client.lists()?)?;
    let crls = split(&estate.path("served-crl.pem"))?;
    ensure!(crls.len() == 2, "the root's list and the intermediate's");

    for (name, leaf) in &leaves {
        for purpose in ["sslclient", "sslserver"] {
            let mut verify = Command::new(&openssl);
            verify.args(["verify", "-x509_strict", "-check_ss_sig", "-crl_check_all"]);
            verify.args(["-purpose", purpose, "-no-CApath", "-no-CAstore"]);
            verify.args(crls.iter().flat_map(|crl| [PathBuf::from("-CRLfile"), crl.clone()]));
            verify.arg("-CAfile").arg(estate.path("ca/root.crt"));
            verify.arg("-untrusted").arg(estate.path("ca/intermediate.crt"));
            let ended = run(verify.arg(leaf))?;
            ensure!(ended.succeeded, "{name} as {purpose}: {ended:?}");
        }
        let findings = pkilint(&python, "lint_pkix_cert", leaf)?;
        ensure!(findings.is_empty(), "{name}: {findings:#?}");
    }
    for crl in &crls {
        succeed(Command::new(&openssl).args(["crl", "-noout", "-text", "-in"]).arg(crl))?;
        let findings = pkilint(&python, "lint_crl", crl)?;
        ensure!(findings.is_empty(), "{}: {findings:#?}", crl.display());
    }
    Ok(())
}

/// One certificate for each way to one.
fn issued(estate: &Estate, client: &Client<'_>, url: &str) -> Result<Vec<(&'static str, PathBuf)>> {
    let [enrolled, renewed] = client.enrol_and_renew("est-bot")?;
    let first = |file: &PathBuf| split(file)?.into_iter().next().context("a certificate");
    let mut leaves = vec![("enrolled by EST", first(&enrolled)?), ("renewed by EST", first(&renewed)?)];

    let (invite, joined) = (estate.path("books.invite"), estate.path("books"));
    let mut ask = estate.countermark();
    ask.args(["ca", "invite", "server", "books", "--dns", "books.internal", "--ip", "127.0.0.1", "--ca"]);
    succeed(ask.arg(estate.path("ca")).arg("--out").arg(&invite))?;
    succeed(estate.countermark().args(["join", "--invite"]).arg(&invite).arg("--out").arg(&joined))?;
    leaves.push(("enrolled by an invite", copied(estate, &joined, "joined.crt")?));

    let text = format!(
        "version = 1\n[[issuer]]\nname = \"authority\"\nkind = \"authority\"\nurl = \"{url}\"\n\n[[credential]]\n\
         name = \"books\"\nidentity = \"spiffe://agents.internal/server/books\"\nissuer = \"authority\"\ndirectory = \"books\"\n"
    );
    let before = std::fs::read(leaf(&joined)?)?;
    Rotation::start(estate, "rotate.toml", &text)?.renew("books")?;
    leaves.push(("renewed by rotate", copied(estate, &joined, "rotated.crt")?));
    ensure!(std::fs::read(leaf(&joined)?)? != before, "rotate renewed nothing");

    let admin = estate.mint("admin", "root-admin", &[])?;
    let far = estate.path("far-bot");
    let mut mint = estate.countermark();
    mint.args(["mint", "agent", "far-bot", "--ca", url, "--identity"]).arg(admin);
    succeed(mint.arg("--out").arg(&far))?;
    leaves.push(("minted from afar", leaf(&far)?));
    Ok(leaves)
}

/// The leaf of a directory as it is now.
fn copied(estate: &Estate, identity: &std::path::Path, name: &str) -> Result<PathBuf> {
    let copy = estate.path(name);
    std::fs::copy(leaf(identity)?, &copy)?;
    Ok(copy)
}

/// The certificate that an authority presents, under a name that pkilint takes for one: `localhost` it does not.
fn own(estate: &Estate, openssl: &std::path::Path) -> Result<PathBuf> {
    let mut serve = estate.countermark();
    serve.args(["ca", "serve", "--listen", "127.0.0.1:0", "--dns", "authority.internal", "--name", "other", "--dir"]);
    let mut authority = Running::start(serve.arg(estate.path("ca")))?;
    let port = authority.wait_for(|line| {
        let (_, rest) = line.split_once("https://authority.internal:")?;
        Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
    })?;
    let mut look = Command::new(openssl);
    look.args(["s_client", "-showcerts", "-servername", "authority.internal", "-connect"]);
    let said = run(look.arg(format!("127.0.0.1:{port}")))?;
    let file = estate.path("own.txt");
    std::fs::write(&file, said.stdout)?;
    split(&file)?.into_iter().next().context("a certificate")
}
