//! What a private key says about itself: its public half, compared with that of a certificate.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Whether the private `key` is the other half of the public key in `spki`.
///
/// `None`: the key is of no kind that is supported (P-256, P-384, Ed25519, RSA) or is broken.
pub(crate) fn matches(key: &PrivateKeyDer<'_>, spki: &[u8]) -> Option<bool> {
    let public = public_key(key)?;
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    Some(public.as_slice() == spki.subject_public_key.data.as_ref())
}

/// The `subjectPublicKey` bits of a private key. The kinds differ in length and framing, so that equal bits mean an equal kind.
fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    match key {
        PrivateKeyDer::Pkcs8(der) => of_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(der) => of_sec1(der.secret_sec1_der()),
        PrivateKeyDer::Pkcs1(der) => {
            rsa::KeyPair::from_der(der.secret_pkcs1_der()).ok().map(|pair| pair.public_key().as_ref().to_vec())
        }
        _ => None,
    }
}

fn of_pkcs8(der: &[u8]) -> Option<Vec<u8>> {
    for curve in [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve, der) {
            return Some(pair.public_key().as_ref().to_vec());
        }
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Some(pair.public_key().as_ref().to_vec());
    }
    rsa::KeyPair::from_pkcs8(der).ok().map(|pair| pair.public_key().as_ref().to_vec())
}

fn of_sec1(der: &[u8]) -> Option<Vec<u8>> {
    [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING]
        .into_iter()
        .find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
        .map(|pair| pair.public_key().as_ref().to_vec())
}
