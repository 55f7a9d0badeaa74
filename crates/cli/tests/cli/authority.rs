//! `ca`: from init to revocation, with OpenSSL as the witness.

use std::io::Write as _;
use std::process::Stdio;

use crate::run::{Place, Ran, command, countermark, program, snapshot};

#[test]
fn from_init_to_revocation_and_openssl_agrees() {
    let place = Place::empty();
    let (ca, pass) = (place.text("ca"), place.write("pass", "correct horse battery staple\n"));
    let with = ["--passphrase-file", &pass];
    countermark(["ca", "init", "--dir", &ca, "--trust-domain", "agents.internal"].iter().chain(&with)).done();
    let id = place.text("id");
    let minted = countermark(["mint", "agent", "billing-bot", "--ca", &ca, "--out", &id, "--json"].iter().chain(&with));
    let minted = minted.done().json();
    let serial = minted["serial"].as_str().unwrap().to_owned();
    assert_eq!(minted["identity"], "spiffe://agents.internal/agent/billing-bot");

    let inspected = countermark(["inspect", &id, "--json"]).done().json();
    assert_eq!(inspected["certificates"][0]["serial"], serial.as_str());
    assert_eq!(inspected["certificates"][0]["problems"].as_array().unwrap().len(), 0);
    openssl_agrees(&place, &serial, false);

    let revoked = countermark(["ca", "revoke", "--ca", &ca, "billing-bot", "--json"].iter().chain(&with));
    assert_eq!(revoked.done().json()["revoked"][0]["serial"], serial.as_str());
    let list = countermark(["ca", "list", "--ca", &ca, "--json"]).done().json();
    assert_eq!((list[0]["state"].as_str(), list[0]["serial"].as_str()), (Some("revoked"), Some(serial.as_str())));
    openssl_agrees(&place, &serial, true);
}

/// Whether the keys open, the chain verifies and the CRL lists the serial, by OpenSSL.
fn openssl_agrees(place: &Place, serial: &str, revoked: bool) {
    let pass = format!("file:{}", place.text("pass"));
    for key in ["root.key", "intermediate.key"] {
        let key = place.text(&format!("ca/{key}"));
        let Some(opened) = program("openssl", ["pkey", "-in", &key, "-passin", &pass, "-noout"]) else { return };
        opened.done();
        assert!(std::fs::read_to_string(&key).unwrap().contains("BEGIN ENCRYPTED PRIVATE KEY"));
    }
    let verified = program(
        "openssl",
        [
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CAfile",
            &place.text("ca/root.crt"),
            "-untrusted",
            &place.text("ca/intermediate.crt"),
            "-CRLfile",
            &place.text("ca/crl.pem"),
            &place.text("id/tls.crt"),
        ],
    );
    let verified = verified.unwrap();
    assert_eq!(verified.code == Some(0), !revoked, "{verified:?}");
    assert_eq!(verified.err.contains("certificate revoked"), revoked, "{verified:?}");
    let listed = std::fs::read_to_string(place.path("ca/crl.pem")).unwrap();
    let listed = listed.split_inclusive("-----END X509 CRL-----\n").any(|crl| {
        let file = place.write("one.pem", crl);
        let text = program("openssl", ["crl", "-in", &file, "-noout", "-text"]).unwrap().done().out;
        text.to_lowercase().contains(serial)
    });
    assert_eq!(listed, revoked);
}

#[test]
fn without_a_passphrase_all_three_sources_are_named() {
    let place = Place::empty();
    let init = ["ca", "init", "--dir", &place.text("ca"), "--trust-domain", "agents.internal"];
    countermark(init).failed(3, &["--passphrase-file", "$CREDENTIALS_DIRECTORY/ca-passphrase", "terminal"]);
    assert!(!place.path("ca").exists(), "nothing is left half-made");
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_mints_nothing() {
    let place = Place::empty();
    let (ca, right, wrong) = (place.text("ca"), place.write("right", "right\n"), place.write("wrong", "wrong\n"));
    countermark(["ca", "init", "--dir", &ca, "--trust-domain", "agents.internal", "--passphrase-file", &right]).done();
    let mint = ["mint", "agent", "a", "--ca", &ca, "--out", &place.text("id"), "--passphrase-file", &wrong];
    let ran = countermark(mint).failed(3, &["wrong passphrase", "intermediate.key"]);
    assert!(!ran.err.contains("panicked") && !place.path("id").exists());
    assert_eq!(place.minted(), 0);
}

#[test]
fn a_passphrase_comes_from_stdin_and_from_systemd_too() {
    let place = Place::empty();
    let ca = place.text("ca");
    let mut child = command()
        .args(["ca", "init", "--dir", &ca, "--trust-domain", "agents.internal", "--passphrase-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    place.write("ca-passphrase", "from stdin");
    let crl = command().args(["ca", "crl", "--ca", &ca]).env("CREDENTIALS_DIRECTORY", place.dir.path()).output();
    Ran::of(crl.unwrap()).done();
}

#[test]
fn an_empty_passphrase_and_one_of_two_lines_are_refused() {
    let place = Place::empty();
    for (content, said) in [("", "is empty"), ("\n", "is empty"), ("a\nb\n", "more than one line")] {
        let pass = place.write("pass", content);
        let init =
            ["ca", "init", "--dir", &place.text("ca"), "--trust-domain", "td.internal", "--passphrase-file", &pass];
        countermark(init).failed(3, &[said]);
    }
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let place = Place::with_authority();
    let before = snapshot(&place.path("ca"));
    let again = ["ca", "init", "--dir", &place.text("ca"), "--trust-domain", "other.internal", "--plaintext-key"];
    countermark(again).failed(3, &["is not empty"]);
    assert_eq!(snapshot(&place.path("ca")), before);
}

#[test]
fn an_unencrypted_key_is_said_loudly() {
    let place = Place::empty();
    let init = ["ca", "init", "--dir", &place.text("ca"), "--trust-domain", "agents.internal", "--plaintext-key"];
    assert!(countermark(init).done().err.contains("not encrypted"));
}

#[test]
fn what_the_old_intermediate_signed_stays_good_after_a_renewal() {
    let place = Place::with_authority();
    let ca = place.text("ca");
    let old = place.mint("agent", "old-bot");
    countermark(["ca", "renew", "--ca", &ca, "--json"]).done().json();
    let new = place.mint("agent", "new-bot");
    countermark(["inspect", &new]).done();
    let crls = countermark_crls(&place);
    assert!(crls >= 3, "one for the root and one for each intermediate, not {crls}");
    countermark(["inspect", &old]).done();
}

fn countermark_crls(place: &Place) -> usize {
    let text = std::fs::read_to_string(place.path("ca/crl.pem")).unwrap();
    text.matches("BEGIN X509 CRL").count()
}

#[test]
fn what_the_inventory_does_not_know_cannot_be_revoked() {
    let place = Place::with_authority();
    let ca = place.text("ca");
    countermark(["ca", "revoke", "--ca", &ca, "nobody"]).failed(3, &["knows no certificate", "ca list"]);
    countermark(["ca", "revoke", "--ca", &ca, "00112233445566778899aabbccddeeff"]).failed(3, &["knows no certificate"]);
    countermark(["ca", "revoke", "--ca", &ca, "robot/x"]).failed(2, &["names no identity"]);
    countermark(["ca", "revoke", "--ca", &ca, "a", "--reason", "boredom"]).failed(2, &["keyCompromise"]);
}

#[test]
fn a_serial_revokes_one_of_several() {
    let place = Place::with_authority();
    let ca = place.text("ca");
    place.mint("agent", "a");
    place.mint("agent", "a");
    let list = countermark(["ca", "list", "--ca", &ca, "--json"]).done().json();
    let serial = list[0]["serial"].as_str().unwrap();
    countermark(["ca", "revoke", "--ca", &ca, serial]).done();
    let list = countermark(["ca", "list", "--ca", &ca, "--json"]).done().json();
    let states: Vec<_> = list.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "revoked").count(), 1, "{states:?}");
}

#[test]
fn a_directory_without_an_authority_says_what_makes_one() {
    let place = Place::empty();
    for verb in ["list", "crl", "renew", "bundle"] {
        countermark(["ca", verb, "--ca", &place.text("nothing")]).failed(3, &["holds no authority", "ca init"]);
    }
}

#[test]
fn the_bundle_goes_to_stdout_or_whole_into_a_file() {
    let place = Place::with_authority();
    let ca = place.text("ca");
    let pem = countermark(["ca", "bundle", "--ca", &ca]).done().out;
    assert!(pem.starts_with("Sequence: 1") && pem.contains("BEGIN CERTIFICATE"), "{pem}");
    countermark(["ca", "bundle", "--ca", &ca, "--out", &place.text("bundle.pem")]).done();
    assert_eq!(std::fs::read_to_string(place.path("bundle.pem")).unwrap(), pem);
    let json = countermark(["ca", "bundle", "--ca", &ca, "--json"]).done().json();
    assert_eq!(json["trust_domain"], "agents.internal");
}

#[test]
fn a_trust_domain_that_is_none_is_wrong_usage() {
    let place = Place::empty();
    let init = ["ca", "init", "--dir", &place.text("ca"), "--trust-domain", "Not A Domain", "--plaintext-key"];
    countermark(init).failed(2, &["--trust-domain `Not A Domain`"]);
}

#[test]
fn the_list_is_aligned_from_the_first_column() {
    let place = Place::with_authority();
    place.mint("agent", "a");
    place.mint("server", "a-much-longer-name");
    let text = countermark(["ca", "list", "--ca", &place.text("ca")]).done().out;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("IDENTITY "), "{text}");
    let at = lines[0].find("STATE").unwrap();
    assert!(lines[1..].iter().all(|line| line.starts_with("spiffe://") && &line[at..at + 4] == "live"), "{text}");
}
