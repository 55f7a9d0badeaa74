use super::*;
use crate::{KeyType, testing::OpenSsl};

fn passphrase(text: &str) -> impl FnOnce() -> Option<Zeroizing<Vec<u8>>> + use<> {
    let bytes = Zeroizing::new(text.as_bytes().to_vec());
    move || Some(bytes)
}

#[test]
fn a_sealed_key_is_opened_by_us_and_by_openssl_and_by_no_other_passphrase() {
    let openssl = OpenSsl::new();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let sealed = seal_key(&key, b"correct horse").unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    openssl.write("sealed.pem", sealed.as_bytes());
    openssl.run("asn1parse -in sealed.pem");
    openssl.write("pass", b"correct horse");
    openssl.run("pkey -in sealed.pem -passin file:pass -pubout -outform DER -out pub.der");
    assert_eq!(openssl.read("pub.der"), key.public_key().spki_der());
    let opened = open_key(sealed.as_bytes(), passphrase("correct horse")).unwrap();
    assert_eq!(opened.to_pkcs8(), key.to_pkcs8());
    let wrong = open_key(sealed.as_bytes(), passphrase("battery staple"));
    assert_eq!(wrong.unwrap_err(), SealError::WrongPassphrase);
    let none = open_key(sealed.as_bytes(), || None);
    assert_eq!(none.unwrap_err(), SealError::PassphraseNeeded);
}

#[test]
fn it_is_sealed_as_the_design_says() {
    let key = KeyPair::generate(KeyType::Ed25519).unwrap();
    let sealed = seal_key(&key, b"x").unwrap();
    let openssl = OpenSsl::new();
    openssl.write("sealed.pem", sealed.as_bytes());
    let parsed = openssl.run("asn1parse -in sealed.pem");
    for part in ["PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", ":0927C0"] {
        assert!(parsed.contains(part), "{part} in {parsed}");
    }
}

#[test]
fn what_openssl_seals_is_opened() {
    let openssl = OpenSsl::new();
    openssl.write("pass", b"secret");
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem");
    openssl.run("pkcs8 -topk8 -in key.pem -v2 aes-256-cbc -v2prf hmacWithSHA256 -passout file:pass -out sealed.pem");
    let key = open_key(&openssl.read("sealed.pem"), passphrase("secret")).unwrap();
    assert_eq!(key.key_type(), KeyType::P384);
}

#[test]
fn other_schemes_are_refused_with_the_command_that_converts() {
    let openssl = OpenSsl::new();
    openssl.write("pass", b"secret");
    openssl.run("genpkey -algorithm ED25519 -out key.pem");
    for scheme in [
        "-v2 aes-128-cbc -v2prf hmacWithSHA256",
        "-v2 aes-256-cbc -v2prf hmacWithSHA1",
        "-v2 aes-256-cbc -scrypt",
        "-v1 PBE-SHA1-3DES",
    ] {
        openssl.run(&format!("pkcs8 -topk8 -in key.pem {scheme} -passout file:pass -out sealed.pem"));
        let refused = open_key(&openssl.read("sealed.pem"), passphrase("secret"));
        assert_eq!(refused.unwrap_err(), SealError::Scheme, "{scheme}");
    }
}

#[test]
fn rounds_without_end_are_refused_before_they_begin() {
    let openssl = OpenSsl::new();
    openssl.write("pass", b"secret");
    openssl.run("genpkey -algorithm ED25519 -out key.pem");
    openssl.run("pkcs8 -topk8 -in key.pem -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 65536 -passout file:pass -outform DER -out sealed.der");
    let mut der = openssl.read("sealed.der");
    // INTEGER 65536 becomes one of three octets of ones.
    let at = der.windows(5).position(|bytes| bytes == [2, 3, 1, 0, 0]).unwrap();
    der[at + 2..at + 5].copy_from_slice(&[0x7f, 0xff, 0xff]);
    assert_eq!(open(&der, b"secret").unwrap_err(), SealError::Rounds(0x7f_ffff));
}

#[test]
fn plaintext_is_written_only_by_name_and_read() {
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let plain = unsealed_pem(&key).unwrap();
    assert!(plain.starts_with("-----BEGIN PRIVATE KEY-----"));
    let read = open_key(plain.as_bytes(), || panic!("no passphrase is asked for")).unwrap();
    assert_eq!(read.public_key(), key.public_key());
}

#[test]
fn an_empty_passphrase_and_other_files_are_refused() {
    let key = KeyPair::generate(KeyType::P256).unwrap();
    assert_eq!(seal_key(&key, b"").unwrap_err(), SealError::EmptyPassphrase);
    assert_eq!(open_key(b"nonsense", || None).unwrap_err(), SealError::NotPem);
    let other = crate::to_pem("CERTIFICATE", &[1, 2, 3]);
    assert_eq!(open_key(other.as_bytes(), || None).unwrap_err(), SealError::Label("CERTIFICATE".into()));
    let broken = crate::to_pem("PRIVATE KEY", &[1, 2, 3]);
    assert_eq!(open_key(broken.as_bytes(), || None).unwrap_err(), SealError::Key(KeyError::Malformed));
}

#[test]
fn openssl_reads_every_kind_of_key_that_we_make() {
    let openssl = OpenSsl::new();
    for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa3072] {
        let key = KeyPair::generate(kind).unwrap();
        openssl.write("key.pem", unsealed_pem(&key).unwrap().as_bytes());
        openssl.run("pkey -in key.pem -pubout -outform DER -out pub.der");
        assert_eq!(openssl.read("pub.der"), key.public_key().spki_der(), "{kind}");
        assert_eq!(KeyPair::from_pkcs8(&key.to_pkcs8()).unwrap().key_type(), kind);
        assert!(!format!("{key:?}").contains("48, "), "no bytes in {key:?}");
    }
}
