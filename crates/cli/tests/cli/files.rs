//! Bad files: each refusal names the file, the cause and the next step, whoever reads it.

use std::os::unix::fs::PermissionsExt;

use crate::run::{Place, Ran, countermark, unprivileged};

/// A place with a guard's identity and a policy.
fn place() -> Place {
    let place = Place::with_authority();
    place.mint("server", "ledger");
    place.mint("agent", "billing-bot");
    place.policy();
    place
}

fn guard(place: &Place, identity: &str) -> Ran {
    let (policy, identity) = (place.text("policy.toml"), place.text(identity));
    let args = ["guard", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9/mcp"];
    countermark(args.into_iter().chain(["--identity", &identity, "--policy", &policy]))
}

fn connect(place: &Place, identity: &str) -> Ran {
    countermark(["connect", "--to", "https://localhost:9/mcp", "--identity", &place.text(identity)])
}

/// The file with key and chain of the generation that counts.
fn credential(place: &Place, name: &str) -> std::path::PathBuf {
    place.path(name).join("credential-bundle.pem").canonicalize().unwrap()
}

#[test]
fn half_written_files_are_refused() {
    let place = place();
    for name in ["ledger", "billing-bot"] {
        let file = credential(&place, name);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    }
    guard(&place, "ledger").failed(3, &["credential-bundle.pem", "cut off"]);
    connect(&place, "billing-bot").failed(3, &["credential-bundle.pem", "cut off"]);
    countermark(["inspect", &place.text("ledger")]).failed(3, &["credential-bundle.pem", "cut off"]);
}

#[test]
fn an_empty_file_is_refused() {
    let place = place();
    std::fs::write(credential(&place, "ledger"), "").unwrap();
    guard(&place, "ledger").failed(3, &["credential-bundle.pem"]);
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let place = place();
    place.mint("server", "other");
    let (ledger, other) = (credential(&place, "ledger"), credential(&place, "other"));
    let key = std::fs::read_to_string(&other).unwrap();
    let chain = std::fs::read_to_string(&ledger).unwrap();
    let key = key.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap().to_owned();
    let chain = chain.split_once("-----END PRIVATE KEY-----\n").unwrap().1.to_owned();
    std::fs::write(&ledger, format!("{key}{chain}")).unwrap();
    guard(&place, "ledger").failed(3, &["credential-bundle.pem", "key"]);
    let mixed = place.write("mixed.pem", format!("{key}{chain}"));
    let report = countermark(["inspect", &mixed, "--json"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert!(!report.json()["problems"].as_array().unwrap().is_empty());
}

#[test]
fn a_key_that_the_world_can_read_is_refused_with_the_remedy() {
    let place = place();
    for (name, mode) in [("ledger", 0o644), ("billing-bot", 0o604)] {
        let file = credential(&place, name);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    guard(&place, "ledger").failed(3, &["0644", "chmod 0600"]);
    connect(&place, "billing-bot").failed(3, &["0604", "chmod 0600"]);
}

#[test]
fn a_ca_key_that_the_world_can_read_is_refused_with_the_remedy() {
    let place = place();
    let key = place.path("ca/intermediate.key").canonicalize().unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    countermark(["ca", "crl", "--ca", &place.text("ca")]).failed(3, &["644", "chmod"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = place();
    let locked = place.write("locked.pem", "");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    unprivileged(&place, &["inspect", &locked]).failed(3, &["locked.pem", "ermission denied"]);
    unprivileged(&place, &["policy", "check", &locked]).failed(3, &["locked.pem", "ermission denied"]);
    guard(&place, "nothing-there").failed(3, &["nothing-there"]);
    connect(&place, "nothing-there").failed(3, &["nothing-there"]);
}

#[test]
fn the_identity_of_the_wrong_role_is_refused() {
    let place = place();
    guard(&place, "billing-bot").failed(3, &["/agent/billing-bot", "mint server"]);
}

#[test]
fn without_a_bundle_nobody_is_believed() {
    let place = place();
    std::fs::remove_dir_all(place.path("ledger/trust")).unwrap();
    for name in ["ca.crt", "agents.internal.trust-bundle.pem"] {
        std::fs::remove_file(place.path("ledger/current").join(name)).unwrap();
    }
    guard(&place, "ledger").failed(3, &["ledger", "trust"]);
    countermark(["inspect", &place.text("ledger")]).failed(1, &[]);
}
