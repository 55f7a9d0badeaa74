//! Which signatures on certificates and revocation lists are believed, and the verification of one.

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use webpki::aws_lc_rs as algorithms;

use super::memo::Memo;
use crate::der::{BIT_STRING, Reader, SEQUENCE};

/// Every algorithm that is believed: ECDSA, Ed25519 and RSA from 2048 bits, all with SHA-2.
pub(super) static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; COUNT] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ECDSA_P521_SHA256,
    algorithms::ECDSA_P521_SHA384,
    algorithms::ECDSA_P521_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

const COUNT: usize = 19;

/// The same algorithms, each with a memory of what it found good. They live on the stack of one verification.
pub(super) fn remembering(memo: &Memo) -> [Remembering<'_>; COUNT] {
    ALGORITHMS.map(|algorithm| Remembering { algorithm, memo })
}

/// An algorithm that does not verify again what it has verified.
#[derive(Debug)]
pub(super) struct Remembering<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    memo: &'a Memo,
}

impl SignatureVerificationAlgorithm for Remembering<'_> {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        // Both algorithm identifiers take part: the key's names the curve, the signature's the hash.
        let (key, signs) = (self.algorithm.public_key_alg_id(), self.algorithm.signature_alg_id());
        let name = [key.as_ref(), &[0], signs.as_ref()].concat();
        self.memo.recall([&name, public_key, message, signature], || {
            self.algorithm.verify_signature(public_key, message, signature)
        })
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// Verifies `signature` over `message` by the key in `spki`, with the algorithm that `identifier` (without its sequence) names.
pub(crate) fn verify(identifier: &[u8], spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (key_identifier, key) = split_spki(spki).ok_or(SignatureError::Malformed)?;
    let mut known = false;
    for algorithm in ALGORITHMS {
        if algorithm.signature_alg_id().as_ref() != identifier {
            continue;
        }
        known = true;
        if algorithm.public_key_alg_id().as_ref() == key_identifier {
            return algorithm.verify_signature(key, message, signature).map_err(|_| SignatureError::Invalid);
        }
    }
    Err(if known { SignatureError::Invalid } else { SignatureError::Unsupported })
}

/// Verifies that the key in `spki_der` signed a certificate, and nothing else about either.
///
/// # Errors
/// [`SignatureError`]; a certificate that cannot be taken apart is malformed.
pub fn verify_certificate(der: &[u8], spki_der: &[u8]) -> Result<(), SignatureError> {
    let (algorithm, tbs, signature) = split_certificate(der).ok_or(SignatureError::Malformed)?;
    verify(algorithm, spki_der, tbs, signature)
}

/// The algorithm identifier (without its sequence), what is signed, and the signature.
fn split_certificate(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut fields = Reader::new(Reader::only(der, SEQUENCE)?);
    let tbs = fields.expect(SEQUENCE)?.whole;
    let algorithm = fields.expect(SEQUENCE)?.content;
    let [0, signature @ ..] = fields.expect(BIT_STRING)?.content else { return None };
    fields.is_empty().then_some((algorithm, tbs, signature))
}

/// The algorithm identifier (without its sequence) and the key bits of a `SubjectPublicKeyInfo`.
fn split_spki(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Reader::new(Reader::only(spki, SEQUENCE)?);
    let identifier = fields.expect(SEQUENCE)?.content;
    let key = fields.expect(BIT_STRING)?.content;
    let [0, key @ ..] = key else { return None };
    fields.is_empty().then_some((identifier, key))
}

/// Why a signature is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key did not make it.
    #[error("the signature is not by that key")]
    Invalid,
    /// The key, or what was signed, is not in DER.
    #[error("the public key or what it signed is malformed")]
    Malformed,
    /// No algorithm that is believed.
    #[error("the signature algorithm is not supported; ECDSA, Ed25519 and RSA with SHA-2 are")]
    Unsupported,
}
