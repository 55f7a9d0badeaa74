//! `mint --out`: what a directory holds already is not harmed, and what cannot take a certificate gets none.

use std::fs;

use crate::run::{Place, countermark, program, snapshot};

#[test]
fn a_renewal_keeps_the_bundles_of_other_trust_domains() {
    let place = Place::with_authority();
    let id = place.mint("server", "ledger");
    let partner = place.text("partner");
    countermark(["ca", "init", "--dir", &partner, "--trust-domain", "partner.example", "--plaintext-key"]).done();
    let current = place.path("ledger/trust/current");
    let bundle = "partner.example.trust-bundle.pem";
    fs::copy(place.path("partner").join(bundle), current.join(bundle)).unwrap();
    fs::copy(place.path("partner/crl.pem"), current.join("partner.example.crl.pem")).unwrap();
    place.mint("server", "ledger");
    let names = |json: serde_json::Value| -> Vec<String> {
        let bundles = json["bundles"].as_array().unwrap().iter();
        bundles.map(|bundle| bundle["trust_domain"].as_str().unwrap().to_owned()).collect()
    };
    let facts = countermark(["inspect", &id, "--json"]).done().json();
    assert_eq!(facts["crls"].as_array().unwrap().len(), 4, "two lists of each authority");
    assert_eq!(names(facts), ["agents.internal", "partner.example"]);
    // What the delivery brings anew may be broken.
    fs::write(current.join("agents.internal.crl.pem"), "junk").unwrap();
    place.mint("server", "ledger");
    assert_eq!(names(countermark(["inspect", &id, "--json"]).done().json()).len(), 2);
    // What cannot be read is not dropped in silence: nothing is signed before it is mended.
    fs::write(current.join(bundle), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let before = (snapshot(&place.path("ledger")), place.minted());
    countermark(["mint", "server", "ledger", "--ca", &place.text("ca"), "--out", &id]).failed(3, &[bundle, "cut off"]);
    assert_eq!((snapshot(&place.path("ledger")), place.minted()), before);
}

#[test]
fn a_request_is_not_answered_over_a_generation() {
    let place = Place::with_authority();
    let id = place.mint("agent", "billing-bot");
    let (key, csr) = (place.text("key"), place.text("csr"));
    let Some(made) = program("openssl", ["genpkey", "-algorithm", "ED25519", "-out", &key]) else { return };
    made.done();
    program("openssl", ["req", "-new", "-key", &key, "-subj", "/CN=x", "-out", &csr]).unwrap().done();
    let before = (snapshot(&place.path("billing-bot")), place.minted());
    countermark(["mint", "agent", "billing-bot", "--ca", &place.text("ca"), "--csr", &csr, "--out", &id])
        .failed(3, &["holds generations", "without --csr"]);
    assert_eq!((snapshot(&place.path("billing-bot")), place.minted()), before);
    // Beside the requester's own key there is a place for it, again and again.
    fs::create_dir(place.path("own")).unwrap();
    fs::rename(&key, place.path("own/tls.key")).unwrap();
    for _ in 0..2 {
        let out = place.text("own");
        countermark(["mint", "agent", "billing-bot", "--ca", &place.text("ca"), "--csr", &csr, "--out", &out]).done();
        countermark(["inspect", &out]).done();
    }
}

#[test]
fn nothing_is_signed_that_cannot_be_delivered() {
    let place = Place::with_authority();
    let file = place.write("file", "");
    let broken = place.path("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("credential-bundle.pem"), "half of it").unwrap();
    let mint = |out: &str| countermark(["mint", "agent", "a", "--ca", &place.text("ca"), "--out", out]);
    mint(&format!("{file}/id")).failed(3, &["cannot write to", "--out"]);
    mint(&place.text("broken")).failed(3, &["cannot be read", "another"]);
    assert_eq!(place.minted(), 0);
}

#[test]
fn mints_at_once_leave_the_newest_list() {
    let place = Place::with_authority();
    let id = place.mint("agent", "a");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| place.mint("agent", "a"));
        }
    });
    let numbers = |what: &str| {
        let facts = countermark(["inspect", what, "--json"]).done().json();
        facts["crls"].as_array().unwrap().iter().map(|crl| crl["number"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&id), numbers(&place.text("ca")));
    assert_eq!(place.minted(), 9);
}
