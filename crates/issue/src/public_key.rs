//! Public keys that may be certified, kept exactly as they were presented.

use rcgen::{PublicKeyData, SignatureAlgorithm};
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

use crate::{
    key::KeyType,
    signature::{self, SignatureError},
};

/// A SubjectPublicKeyInfo of a kind that we certify, verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    key: Vec<u8>,
    key_type: KeyType,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo and refuses every kind of key that is not certified.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(PublicKeyError::Malformed);
        }
        let key_type = key_type_of(&spki)?;
        if spki.subject_public_key.unused_bits != 0 {
            return Err(PublicKeyError::Malformed);
        }
        let key = spki.subject_public_key.data.to_vec();
        let public = Self { spki: der.to_vec(), key, key_type };
        // What rcgen will write must be what was presented, byte for byte (no other encoding of the parameters).
        if public.subject_public_key_info() != public.spki {
            return Err(PublicKeyError::Encoding);
        }
        public.verify_point()?;
        Ok(public)
    }

    /// What kind of key this is.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Verifies a signature over `message` by this key's own algorithm: ECDSA with the hash of its curve (ASN.1), Ed25519,
    /// or RSA PKCS#1 v1.5 with SHA-256.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        signature::verify_message(self, message, signature)
    }

    /// The bits inside the SubjectPublicKeyInfo: an uncompressed point, an Ed25519 key, or an RSA key in PKCS#1.
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// Refuses a point that is not on its curve: it would be certified and never work.
    fn verify_point(&self) -> Result<(), PublicKeyError> {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        };
        match self.key_type {
            KeyType::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.key),
            KeyType::P384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &self.key),
            KeyType::Ed25519 => ParsedPublicKey::new(&ED25519, &self.key),
            KeyType::Rsa3072 => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key),
        }
        .map(drop)
        .map_err(|_| PublicKeyError::Malformed)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key_type.signature()
    }
}

/// Why a public key is not certified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not a SubjectPublicKeyInfo, or a key that its own algorithm does not allow.
    #[error("the public key cannot be read")]
    Malformed,
    /// Another encoding than the one that RFC 3279, 5480 and 8410 give.
    #[error("the public key is not encoded as its algorithm prescribes")]
    Encoding,
    /// An elliptic curve other than P-256 and P-384.
    #[error("the elliptic curve {0} is not certified; use P-256 or P-384")]
    Curve(String),
    /// A compressed point, which TLS peers do not read.
    #[error("the elliptic curve point is compressed; make the key with an uncompressed point")]
    CompressedPoint,
    /// RSA of too few or too many bits.
    #[error("an RSA key of {0} bits is not certified; use 3072 to 4096 bits")]
    RsaBits(usize),
    /// Some other algorithm.
    #[error("keys of algorithm {0} are not certified; use ECDSA P-256 or P-384, Ed25519 or RSA")]
    Algorithm(String),
}

fn key_type_of(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, PublicKeyError> {
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        return curve_of(spki);
    }
    if *algorithm == OID_SIG_ED25519 {
        return Ok(KeyType::Ed25519);
    }
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return rsa_bits(spki);
    }
    Err(PublicKeyError::Algorithm(algorithm.to_id_string()))
}

fn curve_of(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, PublicKeyError> {
    let curve = spki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok())
        .ok_or_else(|| PublicKeyError::Curve("given by explicit parameters".to_owned()))?;
    let key_type = if curve == OID_EC_P256 {
        KeyType::P256
    } else if curve == OID_NIST_EC_P384 {
        KeyType::P384
    } else {
        return Err(PublicKeyError::Curve(curve.to_id_string()));
    };
    match spki.subject_public_key.data.first() {
        Some(4) => Ok(key_type),
        Some(2 | 3) => Err(PublicKeyError::CompressedPoint),
        _ => Err(PublicKeyError::Malformed),
    }
}

fn rsa_bits(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, PublicKeyError> {
    let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = spki.parsed() else {
        return Err(PublicKeyError::Malformed);
    };
    let modulus: &[u8] = rsa.modulus;
    let first = modulus.iter().position(|byte| *byte != 0);
    let significant = first.and_then(|at| modulus.get(at..)).unwrap_or_default();
    let leading = significant.first().map_or(0, |byte| byte.leading_zeros());
    let bits = (significant.len() * 8).saturating_sub(leading as usize);
    if (3072..=4096).contains(&bits) { Ok(KeyType::Rsa3072) } else { Err(PublicKeyError::RsaBits(bits)) }
}
