//! `mint`: what it delivers and what it refuses.

use std::os::unix::fs::PermissionsExt;

use crate::run::{Place, countermark, program, snapshot, unprivileged};

#[test]
fn a_delivery_is_whole_private_and_switched_by_one_link() {
    let place = Place::with_authority();
    let id = place.mint("agent", "billing-bot");
    let current = std::fs::read_link(place.path("billing-bot/current")).unwrap();
    assert!(current.starts_with("generations"), "{current:?}");
    for name in ["credential-bundle.pem", "tls.key", "tls.crt", "ca.crt", "agents.internal.trust-bundle.pem"] {
        assert!(place.path("billing-bot").join(name).exists(), "{name}");
    }
    for name in ["credential-bundle.pem", "tls.key"] {
        let mode = std::fs::metadata(format!("{id}/{name}")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[test]
fn into_a_directory_of_the_same_identity_goes_its_next_generation() {
    let place = Place::with_authority();
    let id = place.text("id");
    let mint = |name: &str| countermark(["mint", "agent", name, "--ca", &place.text("ca"), "--out", &id, "--json"]);
    assert_eq!(mint("a").done().json()["generation"], "1");
    assert_eq!(mint("a").done().json()["generation"], "2");
    let before = (snapshot(&place.path("id")), place.minted());
    mint("b").failed(3, &["holds the credential of spiffe://agents.internal/agent/a", "another directory"]);
    assert_eq!((snapshot(&place.path("id")), place.minted()), before, "nothing was signed or changed");
}

#[test]
fn csrs_of_openssl_are_signed_and_the_key_never_travels() {
    let place = Place::with_authority();
    let kinds: [(&str, &[&str]); 4] = [
        ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("ed25519", &["-algorithm", "ED25519"]),
        ("rsa3072", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ];
    for (kind, options) in kinds {
        let (key, csr, out) =
            (place.text(&format!("{kind}.key")), place.text(&format!("{kind}.csr")), place.text(kind));
        let Some(made) = program("openssl", ["genpkey", "-out", &key].iter().chain(options)) else { return };
        made.done();
        program("openssl", ["req", "-new", "-key", &key, "-subj", "/CN=whatever", "-out", &csr]).unwrap().done();
        let mint = ["mint", "agent", "billing-bot", "--ca", &place.text("ca"), "--csr", &csr, "--out", &out];
        countermark(mint).done();
        let names: Vec<_> = snapshot(&place.path(kind))
            .into_iter()
            .map(|(path, content)| {
                assert!(!String::from_utf8_lossy(&content).contains("PRIVATE KEY"), "{path:?}");
                path
            })
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        let facts = countermark(["inspect", &format!("{out}/tls.crt"), "--json"]).done().json();
        assert_eq!(facts["certificates"][0]["key"], kind);
        assert_eq!(facts["certificates"][0]["identity"], "spiffe://agents.internal/agent/billing-bot");
    }
}

#[test]
fn a_request_that_is_none_is_refused_and_nothing_is_written() {
    let place = Place::with_authority();
    let (ca, out) = (place.text("ca"), place.text("out"));
    for (content, said) in [("not a request", "request"), ("-----BEGIN CERTIFICATE REQUEST-----\nMIIB", "request")] {
        let csr = place.write("x.csr", content);
        countermark(["mint", "agent", "a", "--ca", &ca, "--csr", &csr, "--out", &out]).failed(3, &[said]);
        assert!(!place.path("out").exists());
    }
    let gone = place.text("gone.csr");
    countermark(["mint", "agent", "a", "--ca", &ca, "--csr", &gone, "--out", &out])
        .failed(3, &["gone.csr", "openssl req"]);
}

#[test]
fn every_kind_of_key_is_made() {
    let place = Place::with_authority();
    for kind in ["p256", "p384", "ed25519", "rsa3072"] {
        let out = place.text(kind);
        countermark(["mint", "agent", "a", "--ca", &place.text("ca"), "--out", &out, "--key-type", kind]).done();
        let facts = countermark(["inspect", &out, "--json"]).done().json();
        assert_eq!(facts["certificates"][0]["key"], kind);
    }
    let mint = ["mint", "agent", "a", "--ca", &place.text("ca"), "--out", &place.text("x"), "--key-type", "dsa"];
    assert_eq!(countermark(mint).code, Some(2));
}

#[test]
fn lives_out_of_bounds_and_names_out_of_place_are_refused() {
    let place = Place::with_authority();
    let mint = |more: &[&str]| {
        let (ca, out) = (place.text("ca"), place.text("out"));
        countermark(["mint", "agent", "a", "--ca", &ca, "--out", &out].iter().chain(more))
    };
    mint(&["--ttl", "25h"]).failed(3, &["is the most"]);
    mint(&["--ttl", "1m"]).failed(3, &["min_ttl"]);
    mint(&["--ttl", "soon"]).failed(2, &["90s, 15m, 1h or 7d"]);
    mint(&["--ip", "not-an-address"]).failed(2, &[]);
    for name in ["../x", "", "a b", "a/../b", "bill%20ing"] {
        let ran = countermark(["mint", "agent", name, "--ca", &place.text("ca"), "--out", &place.text("out")]);
        assert_eq!(ran.code, Some(2), "{name:?}: {ran:?}");
    }
    assert!(!place.path("out").exists());
    assert_eq!(place.minted(), 0);
}

#[test]
fn names_of_a_server_stand_in_its_certificate() {
    let place = Place::with_authority();
    let facts = countermark(["inspect", &place.mint("server", "ledger"), "--json"]).done().json();
    let names: Vec<_> =
        facts["certificates"][0]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["uri:spiffe://agents.internal/server/ledger", "dns:localhost", "ip:127.0.0.1"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_way_out() {
    let place = Place::with_authority();
    let locked = place.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    give_away(&place);
    let out = place.text("locked/id");
    unprivileged(&place, &["mint", "agent", "a", "--ca", &place.text("ca"), "--out", &out])
        .failed(3, &["locked", "ermission denied"]);
    assert_eq!(snapshot(&locked), []);
}

#[test]
fn an_authority_of_somebody_else_cannot_be_opened() {
    let place = Place::with_authority();
    if !rustix::process::geteuid().is_root() {
        crate::run::skip("needs root to be somebody else");
        return;
    }
    unprivileged(&place, &["mint", "agent", "a", "--ca", &place.text("ca"), "--out", &place.text("id")])
        .failed(3, &["ermission denied"]);
}

/// The authority belongs to the unprivileged user, so that only the output stands in the way.
fn give_away(place: &Place) {
    if rustix::process::geteuid().is_root() {
        program("chown", ["-R", "65534:65534", &place.text("ca")]).unwrap().done();
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    let place = Place::with_authority();
    let small = place.path("small");
    std::fs::create_dir(&small).unwrap();
    let script = r#"mount -t tmpfs -o size=8k tmpfs "$1" && "$2" mint agent a --ca "$3" --out "$1/id"; code=$?; find "$1" -name '*.pem' -o -name 'tls.*' | grep -v / ; ls -A "$1/id" 2>/dev/null; exit $code"#;
    let args = ["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    let rest = [place.text("small"), crate::run::BINARY.to_owned(), place.text("ca")];
    let Some(ran) = program("unshare", args.iter().map(ToString::to_string).chain(rest)) else { return };
    if ran.err.contains("unshare") || ran.err.contains("mount:") {
        crate::run::skip(&format!("no user namespaces here: {}", ran.err.trim()));
        return;
    }
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("No space left"), "{ran:?}");
    assert!(!ran.out.contains("current"), "no generation is current: {ran:?}");
}

#[test]
fn a_profile_of_ones_own_decides_and_a_wrong_one_is_named_with_its_place() {
    let place = Place::with_authority();
    let own = std::fs::read_to_string(place.path("ca/profiles/agent.toml")).unwrap();
    let mint = |profile: &str| {
        let file = place.write("own.toml", profile);
        countermark(["mint", "agent", "a", "--ca", &place.text("ca"), "--out", &place.text("out"), "--profile", &file])
    };
    mint(&format!("nonsense = 1\n{own}")).failed(3, &["own.toml", "nonsense"]);
    let server = std::fs::read_to_string(place.path("ca/profiles/server.toml")).unwrap();
    mint(&server).failed(3, &["agent"]);
    assert!(!place.path("out").exists());
    mint(&own).done();
}

#[test]
fn the_certificate_of_a_request_never_replaces_that_of_another_identity() {
    let place = Place::with_authority();
    let (ca, key, csr, out) = (place.text("ca"), place.text("key"), place.text("csr"), place.text("out"));
    let make = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    let Some(made) = program("openssl", make.iter().chain(&["-keyout", &key, "-out", &csr])) else { return };
    made.done();
    let mint = |name: &str| countermark(["mint", "agent", name, "--ca", &ca, "--csr", &csr, "--out", &out]);
    mint("a").done();
    mint("a").done();
    let before = (snapshot(&place.path("out")), place.minted());
    mint("b").failed(3, &["holds the certificate of spiffe://agents.internal/agent/a", "another directory"]);
    assert_eq!((snapshot(&place.path("out")), place.minted()), before);
}
