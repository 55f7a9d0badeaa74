use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

use super::*;
use crate::testing::{Ca, leaf_params};

const PATH: &str = "/agent/billing-bot";

fn chain(ca: &Ca, key: &KeyPair) -> Vec<CertificateDer<'static>> {
    vec![leaf_params(PATH).signed_by(key, &ca.issuer).unwrap().der().clone()]
}

#[test]
fn every_kind_of_key_fits_its_certificate_and_no_other() {
    let ca = Ca::root("root");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut keys = vec![rsa];
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        keys.push(KeyPair::generate_for(algorithm).unwrap());
    }
    for (index, key) in keys.iter().enumerate() {
        for (other_index, other) in keys.iter().enumerate() {
            let credential = Credential::new(chain(&ca, key), PrivateKeyDer::Pkcs8(other.serialize_der().into()));
            if index == other_index {
                credential.unwrap();
            } else {
                assert!(matches!(credential, Err(CredentialError::KeyMismatch { .. })), "{credential:?}");
            }
        }
    }
}

#[test]
fn another_key_of_the_same_kind_is_a_mismatch() {
    let ca = Ca::root("root");
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let error = Credential::new(chain(&ca, &key), PrivateKeyDer::Pkcs8(other.serialize_der().into())).unwrap_err();
    assert!(matches!(error, CredentialError::KeyMismatch { .. }));
}

#[test]
fn pem_round_trips_key_first() {
    let root = Ca::root("root");
    let intermediate = root.intermediate("intermediate");
    let credential = intermediate.credential(PATH, &[&intermediate]);
    let text = credential.to_pem();
    assert!(text.expose().starts_with("-----BEGIN PRIVATE KEY-----"));
    let again = Credential::from_pem(text.expose().as_bytes()).unwrap();
    assert_eq!(again.chain(), credential.chain());
    assert_eq!(again.chain().len(), 2);
    assert_eq!(again.spiffe_id().unwrap().path(), PATH);
}

/// The older encodings that OpenSSL writes: what PKCS#8 wraps stands alone.
#[test]
fn sec1_and_pkcs1_keys_are_read_and_written_as_they_came() {
    use crate::der::{INTEGER, OCTET_STRING, Reader, SEQUENCE};

    let ca = Ca::root("root");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let ecdsa =
        [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384].map(|alg| KeyPair::generate_for(alg).unwrap());
    for (key, label) in [(&rsa, "RSA PRIVATE KEY"), (&ecdsa[0], "EC PRIVATE KEY"), (&ecdsa[1], "EC PRIVATE KEY")] {
        let der = key.serialize_der();
        let mut fields = Reader::new(Reader::only(&der, SEQUENCE).unwrap());
        fields.expect(INTEGER).unwrap();
        fields.expect(SEQUENCE).unwrap();
        let mut text = String::new();
        pem::write(&mut text, label, fields.expect(OCTET_STRING).unwrap().content);
        pem::write(&mut text, "CERTIFICATE", &chain(&ca, key)[0]);
        let credential = Credential::from_pem(text.as_bytes()).unwrap();
        assert_eq!(credential.to_pem().expose(), &text);
    }
}

#[test]
fn no_key_two_keys_and_no_chain_are_refused() {
    let credential = Ca::root("root").credential(PATH, &[]);
    let key = credential.key_to_pem();
    let found = |text: String| match Credential::from_pem(text.as_bytes()).unwrap_err() {
        CredentialError::KeyCount { found } => found,
        other => panic!("{other}"),
    };
    assert_eq!(found(credential.chain_to_pem()), 0);
    assert_eq!(found(format!("{0}{0}{1}", key.expose(), credential.chain_to_pem())), 2);
    assert!(matches!(Credential::from_pem(key.expose().as_bytes()).unwrap_err(), CredentialError::EmptyChain));
}

#[test]
fn a_broken_key_is_refused() {
    let credential = Ca::root("root").credential(PATH, &[]);
    let error = Credential::new(credential.chain().to_vec(), PrivateKeyDer::Pkcs8(vec![0x30, 0].into())).unwrap_err();
    assert!(matches!(error, CredentialError::UnusableKey));
}

#[test]
fn a_certificate_authority_is_no_leaf() {
    let root = Ca::root("root");
    let key = root.issuer.key().serialize_der();
    let error = Credential::new(vec![root.der.clone()], PrivateKeyDer::Pkcs8(key.into())).unwrap_err();
    assert!(matches!(error, CredentialError::Leaf(_)));
}

#[test]
fn neither_debug_nor_an_error_shows_the_key() {
    let credential = Ca::root("root").credential(PATH, &[]);
    let text = format!("{credential:?}");
    assert!(!text.contains("PRIVATE") && !text.contains("key"), "{text}");
}
