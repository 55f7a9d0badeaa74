//! Signatures on requests, certificates and CRLs: SHA-256 and longer, by the kinds of keys that we certify.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{
    asn1_rs::BitString,
    oid_registry::{
        OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519, Oid,
    },
    signature_algorithm::RsaSsaPssParams,
    x509::AlgorithmIdentifier,
};

use crate::{key::KeyType, public_key::PublicKey};

/// Verifies `signature` over `message`.
pub(crate) fn verify(
    key: &PublicKey,
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &BitString<'_>,
) -> Result<(), SignatureError> {
    if signature.unused_bits != 0 {
        return Err(SignatureError::Mismatch);
    }
    let verification = verification(key.key_type(), algorithm)?;
    UnparsedPublicKey::new(verification, key.key_bytes())
        .verify(message, &signature.data)
        .map_err(|_| SignatureError::Mismatch)
}

/// Verifies `signature` over `message` by the algorithm that goes with the key's kind.
pub(crate) fn verify_message(key: &PublicKey, message: &[u8], signed: &[u8]) -> Result<(), SignatureError> {
    let algorithm: &'static dyn VerificationAlgorithm = match key.key_type() {
        KeyType::P256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyType::P384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyType::Ed25519 => &signature::ED25519,
        KeyType::Rsa3072 => &signature::RSA_PKCS1_2048_8192_SHA256,
    };
    UnparsedPublicKey::new(algorithm, key.key_bytes()).verify(message, signed).map_err(|_| SignatureError::Mismatch)
}

/// Why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// SHA-1, MD5, or something that this kind of key does not make.
    #[error("it is made with {0}; sign with SHA-256, SHA-384 or SHA-512 by the key's own algorithm")]
    Algorithm(String),
    /// Made by another key, or over something else.
    #[error("it does not verify under the key")]
    Mismatch,
}

fn verification(
    key: KeyType,
    algorithm: &AlgorithmIdentifier<'_>,
) -> Result<&'static dyn VerificationAlgorithm, SignatureError> {
    let oid = &algorithm.algorithm;
    let found: Option<&'static dyn VerificationAlgorithm> = match key {
        KeyType::P256 => ecdsa(oid, P256),
        KeyType::P384 => ecdsa(oid, P384),
        KeyType::Ed25519 => (*oid == OID_SIG_ED25519).then_some(&signature::ED25519),
        KeyType::Rsa3072 => rsa(algorithm),
    };
    found.ok_or_else(|| SignatureError::Algorithm(signature_name(oid)))
}

/// One verification algorithm each for SHA-256, SHA-384 and SHA-512.
type ByHash = [&'static dyn VerificationAlgorithm; 3];

const P256: ByHash =
    [&signature::ECDSA_P256_SHA256_ASN1, &signature::ECDSA_P256_SHA384_ASN1, &signature::ECDSA_P256_SHA512_ASN1];
const P384: ByHash =
    [&signature::ECDSA_P384_SHA256_ASN1, &signature::ECDSA_P384_SHA384_ASN1, &signature::ECDSA_P384_SHA512_ASN1];

fn ecdsa(oid: &Oid<'_>, by_hash: ByHash) -> Option<&'static dyn VerificationAlgorithm> {
    let [sha256, sha384, sha512] = by_hash;
    if *oid == OID_SIG_ECDSA_WITH_SHA256 {
        Some(sha256)
    } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
        Some(sha384)
    } else if *oid == OID_SIG_ECDSA_WITH_SHA512 {
        Some(sha512)
    } else {
        None
    }
}

fn rsa(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    let oid = &algorithm.algorithm;
    if *oid == OID_PKCS1_RSASSAPSS {
        return rsa_pss(algorithm);
    }
    if *oid == OID_PKCS1_SHA256WITHRSA {
        Some(&signature::RSA_PKCS1_2048_8192_SHA256)
    } else if *oid == OID_PKCS1_SHA384WITHRSA {
        Some(&signature::RSA_PKCS1_2048_8192_SHA384)
    } else if *oid == OID_PKCS1_SHA512WITHRSA {
        Some(&signature::RSA_PKCS1_2048_8192_SHA512)
    } else {
        None
    }
}

/// Salt as long as the hash and MGF1 with the same hash, which the verifier takes for granted.
fn rsa_pss(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    let hash = parameters.hash_algorithm_oid();
    if *hash == OID_NIST_HASH_SHA256 {
        Some(&signature::RSA_PSS_2048_8192_SHA256)
    } else if *hash == OID_NIST_HASH_SHA384 {
        Some(&signature::RSA_PSS_2048_8192_SHA384)
    } else if *hash == OID_NIST_HASH_SHA512 {
        Some(&signature::RSA_PSS_2048_8192_SHA512)
    } else {
        None
    }
}

fn signature_name(oid: &Oid<'_>) -> String {
    let id = oid.to_id_string();
    match id.as_str() {
        "1.2.840.113549.1.1.4" => "MD5 and RSA".to_owned(),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "SHA-1 and RSA".to_owned(),
        "1.2.840.10045.4.1" => "SHA-1 and ECDSA".to_owned(),
        "1.2.840.113549.1.1.10" => "RSA-PSS and SHA-1".to_owned(),
        _ => format!("algorithm {id}"),
    }
}
