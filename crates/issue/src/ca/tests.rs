use super::*;
use crate::{
    KeyType,
    testing::{NOW, chain, domain, leaf},
};

#[test]
fn a_ca_certificate_says_its_trust_domain_and_its_life() {
    let (root, _) = chain();
    let facts = ca_facts(root.certificate()).unwrap();
    assert_eq!(facts.spiffe_uri.as_deref(), Some("spiffe://agents.internal"));
    assert_eq!(facts.not_after, NOW.saturating_add(ROOT_LIFE));
    assert_eq!(NOW.duration_since(facts.not_before), BACKDATE);
}

#[test]
fn a_leaf_is_no_ca() {
    let (_, signer) = chain();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let leaf = leaf(&signer, "agent/a", key.public_key(), None).unwrap();
    assert_eq!(ca_facts(&leaf).unwrap_err(), CaError::NotCa);
    assert_eq!(ca_facts(b"no").unwrap_err(), CaError::Malformed);
}

#[test]
fn every_kind_of_key_makes_a_ca() {
    for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519] {
        let root = Signer::root(&domain(), KeyPair::generate(kind).unwrap(), ROOT_LIFE, NOW).unwrap();
        let key = KeyPair::generate(kind).unwrap();
        let intermediate = root.intermediate(&domain(), key, INTERMEDIATE_LIFE, NOW).unwrap();
        let own = KeyPair::generate(KeyType::P256).unwrap();
        leaf(&intermediate, "agent/a", own.public_key(), None).unwrap();
    }
}
