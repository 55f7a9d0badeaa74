//! Requests that OpenSSL makes, with every kind of key and hash, good and bad.

use super::*;
use crate::{
    KeyType,
    testing::{OpenSsl, chain, leaf},
};

/// A key by `openssl genpkey`, and a request over it by `openssl req`.
fn request(openssl: &OpenSsl, key: &str, options: &str) -> Result<Csr, CsrError> {
    if !openssl.path("key.pem").exists() {
        openssl.run(&format!("genpkey {key} -out key.pem"));
    }
    openssl.run(&format!("req -new -key key.pem -subj /CN=tamper-me {options} -out csr.pem"));
    Csr::from_pem_or_der(&openssl.read("csr.pem"))
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
const ED25519: &str = "-algorithm ED25519";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:3072";

#[test]
fn every_key_and_hash_that_openssl_makes_is_certified_verbatim() {
    let (_, signer) = chain();
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    let kinds = [(P256, KeyType::P256), (P384, KeyType::P384), (RSA, KeyType::Rsa3072), (ED25519, KeyType::Ed25519)];
    for (kind, key_type) in kinds {
        let openssl = OpenSsl::new();
        let mut options: Vec<String> = ["-sha256", "-sha384", "-sha512"].map(String::from).to_vec();
        if key_type == KeyType::Rsa3072 {
            options.extend(["-sha256", "-sha384", "-sha512"].map(|hash| format!("{hash} {pss}")));
        }
        if key_type == KeyType::Ed25519 {
            options = vec![String::new()];
        }
        for option in options {
            let csr = request(&openssl, kind, &option).unwrap_or_else(|error| panic!("{kind} {option}: {error}"));
            assert_eq!(csr.public_key().key_type(), key_type, "{kind} {option}");
            openssl.run("req -in csr.pem -pubkey -noout -out req.pub");
            openssl.run("pkey -pubin -in req.pub -outform DER -out req.der");
            assert_eq!(csr.public_key().spki_der(), openssl.read("req.der"), "{kind} {option}: the key is verbatim");
            openssl.write("leaf.der", &leaf(&signer, "agent/a", csr.public_key(), None).unwrap());
            openssl.run("x509 -inform DER -in leaf.der -pubkey -noout -out leaf.pub");
            assert_eq!(openssl.read("leaf.pub"), openssl.read("req.pub"), "{kind} {option}");
        }
    }
}

/// rcgen's reader turns this one into a P-256 certificate.
#[test]
fn a_p384_key_that_signs_with_sha256_stays_a_p384_key() {
    let csr = request(&OpenSsl::new(), P384, "-sha256").unwrap();
    assert_eq!(csr.public_key().key_type(), KeyType::P384);
}

#[test]
fn requested_names_and_extensions_are_ignored() {
    let (_, signer) = chain();
    let openssl = OpenSsl::new();
    let extensions = "-addext subjectKeyIdentifier=hash -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=keyCertSign -addext subjectAltName=URI:spiffe://agents.internal/admin/root,DNS:evil";
    let csr = request(&openssl, P256, extensions).unwrap();
    openssl.write("leaf.der", &leaf(&signer, "agent/a", csr.public_key(), None).unwrap());
    let text = openssl.run("x509 -inform DER -in leaf.der -noout -text");
    assert!(!openssl.run("req -in csr.pem -noout -text").is_empty());
    assert!(text.contains("CA:FALSE") && text.contains("URI:spiffe://agents.internal/agent/a"), "{text}");
    assert!(!text.contains("evil") && !text.contains("admin/root") && !text.contains("Certificate Sign"), "{text}");
}

#[test]
fn der_and_pem_are_read() {
    let openssl = OpenSsl::new();
    request(&openssl, P256, "").unwrap();
    openssl.run("req -in csr.pem -outform DER -out csr.der");
    Csr::from_pem_or_der(&openssl.read("csr.der")).unwrap();
}

#[test]
fn a_tampered_request_is_refused() {
    let openssl = OpenSsl::new();
    for kind in [P256, ED25519] {
        let _gone = std::fs::remove_file(openssl.path("key.pem"));
        request(&openssl, kind, "").unwrap();
        openssl.run("req -in csr.pem -outform DER -out csr.der");
        let mut der = openssl.read("csr.der");
        let at = der.windows(9).position(|bytes| bytes == b"tamper-me").unwrap();
        der[at] ^= 1;
        assert_eq!(Csr::parse(&der), Err(CsrError::Signature(SignatureError::Mismatch)));
    }
}

#[test]
fn weak_hashes_are_refused() {
    let md5 = request(&OpenSsl::new(), RSA, "-md5");
    assert_eq!(md5, Err(CsrError::Signature(SignatureError::Algorithm("MD5 and RSA".into()))));
    for kind in [RSA, P256] {
        let sha1 = request(&OpenSsl::new(), kind, "-sha1");
        assert!(matches!(sha1, Err(CsrError::Signature(SignatureError::Algorithm(name))) if name.contains("SHA-1")));
    }
    let pss = "-sha1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    assert!(matches!(request(&OpenSsl::new(), RSA, pss), Err(CsrError::Signature(SignatureError::Algorithm(_)))));
}

#[test]
fn keys_that_are_not_certified_are_refused_each_with_its_reason() {
    let refused = |kind: &str| match request(&OpenSsl::new(), kind, "") {
        Err(CsrError::PublicKey(error)) => error,
        other => panic!("{kind}: {other:?}"),
    };
    assert_eq!(refused("-algorithm RSA -pkeyopt rsa_keygen_bits:1024"), PublicKeyError::RsaBits(1024));
    assert_eq!(refused("-algorithm RSA -pkeyopt rsa_keygen_bits:2048"), PublicKeyError::RsaBits(2048));
    assert_eq!(refused("-algorithm RSA -pkeyopt rsa_keygen_bits:3070"), PublicKeyError::RsaBits(3070));
    assert_eq!(refused("-algorithm RSA -pkeyopt rsa_keygen_bits:4098"), PublicKeyError::RsaBits(4098));
    for curve in ["P-521", "secp256k1", "brainpoolP256r1"] {
        let error = refused(&format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}"));
        assert!(matches!(error, PublicKeyError::Curve(_)), "{curve}: {error}");
    }
    let explicit = format!("{P256} -pkeyopt ec_param_enc:explicit");
    assert!(matches!(refused(&explicit), PublicKeyError::Curve(_)));
    assert!(matches!(refused("-algorithm ED448"), PublicKeyError::Algorithm(_)));
    let pss_key = "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:3072";
    assert!(matches!(refused(pss_key), PublicKeyError::Algorithm(_)));
}

#[test]
fn a_compressed_point_is_refused() {
    let openssl = OpenSsl::new();
    openssl.run(&format!("genpkey {P256} -out plain.pem"));
    openssl.run("ec -in plain.pem -conv_form compressed -out key.pem");
    let refused = request(&openssl, P256, "");
    assert_eq!(refused, Err(CsrError::PublicKey(PublicKeyError::CompressedPoint)));
}

#[test]
fn what_is_no_request_is_refused() {
    let openssl = OpenSsl::new();
    request(&openssl, P256, "").unwrap();
    openssl.run("req -in csr.pem -outform DER -out csr.der");
    let mut der = openssl.read("csr.der");
    der.push(0);
    assert_eq!(Csr::parse(&der), Err(CsrError::TrailingBytes(1)));
    der.truncate(der.len() / 2);
    assert_eq!(Csr::parse(&der), Err(CsrError::Malformed));
    assert_eq!(Csr::parse(&[]), Err(CsrError::Malformed));
    assert_eq!(Csr::from_pem_or_der(b"hello"), Err(CsrError::NotPem));
    let key = Csr::from_pem_or_der(&openssl.read("key.pem"));
    assert_eq!(key, Err(CsrError::Label("PRIVATE KEY".into())));
    assert_eq!(Csr::parse(&vec![0x30; MAX_CSR + 1]), Err(CsrError::TooLarge(MAX_CSR + 1)));
}

#[test]
fn a_request_of_another_version_is_refused() {
    let openssl = OpenSsl::new();
    request(&openssl, P256, "").unwrap();
    openssl.run("req -in csr.pem -outform DER -out csr.der");
    let mut der = openssl.read("csr.der");
    let at = der.windows(3).position(|bytes| bytes == [2, 1, 0]).unwrap();
    der[at + 2] = 2;
    assert!(matches!(Csr::parse(&der), Err(CsrError::Version(2))));
}

/// Every byte of a request is either its frame or under its signature.
#[test]
fn no_bit_of_a_request_can_be_changed() {
    for kind in [P256, ED25519] {
        let openssl = OpenSsl::new();
        request(&openssl, kind, "").unwrap();
        openssl.run("req -in csr.pem -outform DER -out csr.der");
        let der = openssl.read("csr.der");
        for at in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(Csr::parse(&changed).is_err(), "{kind}: bit {at}");
        }
        for length in 0..der.len() {
            assert!(Csr::parse(&der[..length]).is_err(), "{kind}: {length} bytes");
        }
    }
}
