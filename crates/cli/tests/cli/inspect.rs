//! `inspect` and `doctor`: what they find, and on what.

use std::{sync::Arc, time::Duration};

use countermark_authority::{Authority, MintRequest, SubjectKey};
use countermark_credential::{
    Credential,
    directory::{Delivery, DomainCrls, deliver},
};
use countermark_identity::{Clock, SystemClock, UnixTime};
use countermark_issue::{KeyPair, KeyType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::run::{Place, countermark};

/// A clock that stands.
#[derive(Debug)]
struct Stopped(UnixTime);

impl Clock for Stopped {
    fn now(&self) -> UnixTime {
        self.0
    }
}

/// An authority of three hours ago and an identity directory that expired two hours ago.
fn expired() -> Place {
    let place = Place::empty();
    let then = Arc::new(Stopped(SystemClock.now().saturating_sub(Duration::from_secs(3 * 3600))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let td = "agents.internal".parse().unwrap();
    let protection = countermark_authority::KeyProtection::Plaintext;
    let authority = runtime.block_on(Authority::init(place.path("ca"), &td, protection, then.clone())).unwrap();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let request = MintRequest {
        identity: "spiffe://agents.internal/agent/billing-bot".parse().unwrap(),
        subject_key: SubjectKey::Public(key.public_key().clone()),
        ttl: None,
        dns: Vec::new(),
        ip: Vec::new(),
    };
    let issued = runtime.block_on(authority.mint(&request)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
    let credential = Arc::new(Credential::new(issued.chain, key).unwrap());
    let crls = authority.crls().unwrap().into_iter().map(Arc::new).collect();
    let delivery = Delivery {
        credential,
        bundles: vec![authority.bundle().unwrap()],
        crls: vec![DomainCrls { trust_domain: td, crls }],
    };
    deliver(&place.path("id"), &delivery, then.now()).unwrap();
    place
}

#[test]
fn what_has_expired_is_shown_and_refused_everywhere() {
    let place = expired();
    let id = place.text("id");
    let report = countermark(["inspect", &id, "--json"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    let report = report.json();
    assert_eq!(report["certificates"][0]["remaining"], 0);
    assert!(report["certificates"][0]["problems"][0].as_str().unwrap().starts_with("expired on"));
    countermark(["connect", "--to", "https://localhost:9/mcp", "--identity", &id]).failed(3, &["expired", "mint"]);
    let chart = countermark(["doctor", "https://127.0.0.1:9/mcp", "--identity", &id, "--json"]);
    assert_eq!(chart.code, Some(3));
    let steps = chart.json();
    let expiry = steps.as_array().unwrap().iter().find(|step| step["step"] == "expiry").unwrap();
    assert_eq!(expiry["state"], "failed");
    assert!(expiry["remedy"].as_str().unwrap().contains("countermark mint"));
    // Into the expired directory goes the next generation, and all is well.
    countermark(["mint", "agent", "billing-bot", "--ca", &place.text("ca"), "--out", &id]).done();
    countermark(["inspect", &id]).done();
}

#[test]
fn a_file_a_directory_and_an_authority() {
    let place = Place::with_authority();
    let id = place.mint("agent", "billing-bot");
    for target in [id.clone(), format!("{id}/tls.crt"), format!("{id}/credential-bundle.pem"), place.text("ca")] {
        let ran = countermark(["inspect", &target, "--json"]).done();
        assert!(!ran.json()["certificates"].as_array().unwrap().is_empty(), "{target}");
        assert!(!ran.out.contains("PRIVATE KEY"));
        countermark(["inspect", &target]).done();
    }
    let crl = countermark(["inspect", &place.text("ca/crl.pem"), "--json"]).done().json();
    assert_eq!(crl["crls"].as_array().unwrap().len(), 2);
    let key = countermark(["inspect", &format!("{id}/tls.key"), "--json"]).done();
    assert_eq!(key.json()["key"], "present");
}

#[test]
fn the_human_report_says_who_and_until_when() {
    let place = Place::with_authority();
    let text = countermark(["inspect", &place.mint("agent", "billing-bot")]).done().out;
    for words in [
        "generation 1",
        "spiffe://agents.internal/agent/billing-bot",
        "serial",
        "thumbprint",
        "min left",
        "p256",
        "CRL",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_is_no_certificate_is_an_error() {
    let place = Place::empty();
    for (name, content) in [
        ("empty", ""),
        ("text", "hello"),
        ("der", "0\u{3}\u{2}\u{1}\u{1}"),
        ("cut", "-----BEGIN CERTIFICATE-----\nMIIB"),
    ] {
        countermark(["inspect", &place.write(name, content)]).failed(3, &[name]);
    }
    countermark(["inspect", &place.text("gone")]).failed(3, &["neither a file, a directory nor HOST:PORT"]);
    countermark(["inspect", "127.0.0.1:1"]).failed(3, &["cannot reach 127.0.0.1:1", "port"]);
}

#[test]
fn a_leaf_that_breaks_the_rules_is_shown_with_what_it_breaks() {
    let place = Place::empty();
    let (key, crt) = (place.text("key"), place.text("crt"));
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=x",
    ];
    let names = [
        "-addext",
        "subjectAltName=URI:spiffe://a.internal/agent/x,URI:spiffe://a.internal/agent/y",
        "-addext",
        "basicConstraints=CA:FALSE",
    ];
    let out = ["-keyout", &key, "-out", &crt];
    let Some(made) = crate::run::program("openssl", make.iter().chain(&names).chain(&out)) else { return };
    made.done();
    let report = countermark(["inspect", &crt, "--json"]);
    assert_eq!(report.code, Some(1));
    assert!(!report.json()["certificates"][0]["problems"].as_array().unwrap().is_empty());
}

#[test]
fn doctor_works_on_a_broken_identity_and_an_absent_server() {
    let place = Place::with_authority();
    let chart = countermark(["doctor", "https://127.0.0.1:1/mcp", "--identity", &place.text("gone"), "--json"]);
    assert_eq!(chart.code, Some(3));
    let steps = chart.json();
    for name in ["identity", "reach"] {
        let step = steps.as_array().unwrap().iter().find(|step| step["step"] == name).unwrap();
        assert_eq!(step["state"], "failed", "{steps}");
        assert!(!step["remedy"].as_str().unwrap().is_empty());
    }
    countermark(["doctor", "http://127.0.0.1:1/mcp", "--identity", "x"]).failed(2, &["not https"]);
    countermark(["doctor", "nonsense", "--identity", "x"]).failed(2, &["https://HOST:PORT/mcp"]);
}

#[test]
fn a_ca_with_a_third_of_its_life_left_is_a_warning() {
    let place = Place::empty();
    let td = "agents.internal".parse().unwrap();
    let then = SystemClock.now().saturating_sub(Duration::from_secs(300 * 86_400));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let protection = countermark_authority::KeyProtection::Plaintext;
    runtime.block_on(Authority::init(place.path("ca"), &td, protection, Arc::new(Stopped(then)))).unwrap();
    let intermediate = countermark(["inspect", &place.text("ca/intermediate.crt"), "--json"]).done().json();
    assert!(intermediate["certificates"][0]["warnings"][0].as_str().unwrap().contains("a third"), "{intermediate}");
    let root = countermark(["inspect", &place.text("ca/root.crt"), "--json"]).done().json();
    assert!(root["certificates"][0].get("warnings").is_none(), "{root}");
    let list = countermark(["ca", "list", "--ca", &place.text("ca")]).done();
    assert!(list.err.contains("ca renew"), "{list:?}");
    // Its CRL is long past its nextUpdate, and that is a problem with a remedy.
    let crl = countermark(["inspect", &place.text("ca/crl.pem"), "--json"]);
    assert_eq!(crl.code, Some(1));
    assert!(crl.out.contains("countermark ca crl"), "{crl:?}");
}

#[test]
fn a_stale_crl_is_found_with_the_command_that_mends_it() {
    let place = Place::empty();
    let td = "agents.internal".parse().unwrap();
    let then = SystemClock.now().saturating_sub(Duration::from_secs(8 * 86_400));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let protection = countermark_authority::KeyProtection::Plaintext;
    runtime.block_on(Authority::init(place.path("ca"), &td, protection, Arc::new(Stopped(then)))).unwrap();
    let stale = std::fs::read(place.path("ca/crl.pem")).unwrap();
    let id = place.mint("agent", "billing-bot");
    countermark(["inspect", &id]).done();
    std::fs::write(place.path("billing-bot/trust/current/agents.internal.crl.pem"), stale).unwrap();
    let report = countermark(["inspect", &id]);
    assert!(report.code == Some(1) && report.out.contains("countermark ca crl"), "{report:?}");
    let chart = countermark(["doctor", "https://127.0.0.1:1/mcp", "--identity", &id, "--json"]);
    assert_eq!(chart.code, Some(3), "{chart:?}");
    let chart = chart.json();
    let crl = chart.as_array().unwrap().iter().find(|step| step["step"] == "CRL").unwrap();
    assert_eq!(crl["state"], "failed");
    assert!(crl["remedy"].as_str().unwrap().contains("countermark ca crl"), "{crl}");
}
