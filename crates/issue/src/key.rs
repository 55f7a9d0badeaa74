//! Key pairs, made locally and kept as PKCS#8.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, RsaKeySize, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::public_key::{PublicKey, PublicKeyError};

/// A kind of key that a profile may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a new kind of key must break every match on it")]
pub enum KeyType {
    /// ECDSA over NIST P-256, the default.
    #[default]
    P256,
    /// ECDSA over NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA: 3072 bits where we make the key, 3072 to 4096 where a CSR brings it.
    Rsa3072,
}

impl KeyType {
    /// The name that profiles use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa3072 => "rsa3072",
        }
    }

    pub(crate) fn signature(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
            Self::Rsa3072 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        [Self::P256, Self::P384, Self::Ed25519, Self::Rsa3072]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| KeyError::UnknownName(name.to_owned()))
    }
}

/// A private key with its public half. Never printed, zeroised when dropped.
pub struct KeyPair {
    inner: SigningHalf,
    key_type: KeyType,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a new key.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyError> {
        let inner = match key_type {
            KeyType::P256 | KeyType::P384 => rcgen::KeyPair::generate_for(key_type.signature()),
            // Version 1 of PKCS#8: OpenSSL 3.0 does not open version 2, which rcgen would write.
            KeyType::Ed25519 => return Self::from_pkcs8(&generate_ed25519()?),
            KeyType::Rsa3072 => rcgen::KeyPair::generate_rsa_for(key_type.signature(), RsaKeySize::_3072),
        };
        Self::new(inner.map_err(|_| KeyError::Generate)?, key_type)
    }

    /// Reads an unencrypted PKCS#8 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let key_type = key_type_of(der)?;
        let pkcs8 = PrivatePkcs8KeyDer::from(der);
        let inner = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, key_type.signature())
            .map_err(|_| KeyError::Malformed)?;
        Self::new(inner, key_type)
    }

    fn new(inner: rcgen::KeyPair, key_type: KeyType) -> Result<Self, KeyError> {
        let public = PublicKey::from_spki(&inner.subject_public_key_info())?;
        Ok(Self { inner: SigningHalf(Arc::new(Zeroed(inner))), key_type, public })
    }

    /// What kind of key this is.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key as PKCS#8 DER, unencrypted.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.inner.0.0.serialized_der().to_vec())
    }

    /// A certification request (PKCS#10, DER) of this key. It names nobody: whoever issues decides who the key is.
    pub fn request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.inner).map_err(|_| KeyError::Sign)?;
        Ok(request.der().to_vec())
    }

    /// Signs `message` by this key's own algorithm, as [`PublicKey::verify`] expects it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.inner.sign(message).map_err(|_| KeyError::Sign)
    }

    pub(crate) fn signing(&self) -> SigningHalf {
        self.inner.clone()
    }
}

/// What signs, shared by a key and the issuer that was made of it.
#[derive(Clone)]
pub(crate) struct SigningHalf(Arc<Zeroed>);

/// Zeroised when its last owner goes.
struct Zeroed(rcgen::KeyPair);

impl Drop for Zeroed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for SigningHalf {
    fn der_bytes(&self) -> &[u8] {
        self.0.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.0.algorithm()
    }
}

impl SigningKey for SigningHalf {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.0.sign(message)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("key_type", &self.key_type).finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such kind of key.
    #[error("unknown key type `{0}`; use p256, p384, ed25519 or rsa3072")]
    UnknownName(String),
    /// The random generator or the key generation failed.
    #[error("the operating system gave no randomness for a new key")]
    Generate,
    /// Not a private key that can be read.
    #[error("not an unencrypted PKCS#8 private key of type p256, p384, ed25519 or rsa3072")]
    Malformed,
    /// The key does not sign.
    #[error("the key could not sign")]
    Sign,
    /// The public half is not one that is certified.
    #[error(transparent)]
    Public(#[from] PublicKeyError),
}

/// Fills `bytes` from the system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(bytes).map_err(|_| KeyError::Generate)
}

fn generate_ed25519() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(|_| KeyError::Generate)
}

fn key_type_of(der: &[u8]) -> Result<KeyType, KeyError> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| KeyError::Malformed)?;
    match info.algorithm.oid {
        EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            Ok(SECP256R1) => Ok(KeyType::P256),
            Ok(SECP384R1) => Ok(KeyType::P384),
            _ => Err(KeyError::Malformed),
        },
        ED25519 => Ok(KeyType::Ed25519),
        RSA_ENCRYPTION => Ok(KeyType::Rsa3072),
        _ => Err(KeyError::Malformed),
    }
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr::Csr;

    #[test]
    fn a_request_and_a_signature_prove_the_key() {
        for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519] {
            let (key, other) = (KeyPair::generate(kind).unwrap(), KeyPair::generate(kind).unwrap());
            assert_eq!(Csr::parse(&key.request().unwrap()).unwrap().public_key(), key.public_key(), "{kind}");
            let signed = key.sign(b"message").unwrap();
            key.public_key().verify(b"message", &signed).unwrap();
            assert!(key.public_key().verify(b"massage", &signed).is_err(), "{kind}");
            assert!(other.public_key().verify(b"message", &signed).is_err(), "{kind}");
        }
    }
}
