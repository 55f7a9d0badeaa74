//! A key and the request for a certificate over it.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use der::asn1::{BitString, Null, ObjectIdentifier, SetOfVec};
use der::{Any, Decode as _, Encode as _};
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// The kinds of key that are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "mirrors the words of the configuration")]
pub enum KeyKind {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256
    #[default]
    P256,
    /// ECDSA on P-384
    P384,
}

impl KeyKind {
    /// Reads the word for it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ed25519" => Some(Self::Ed25519),
            "p256" => Some(Self::P256),
            "p384" => Some(Self::P384),
            _ => None,
        }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(self) -> Result<PrivateKeyDer<'static>, RequestError> {
        match self {
            Self::Ed25519 => {
                let document =
                    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| RequestError::Generate)?;
                Ok(PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into())
            }
            Self::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKeyDer<'static>, RequestError> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(|_| RequestError::Generate)?;
    Ok(PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into())
}

/// A PKCS#10 request in DER, and the public key that it is for ([RFC 2986](https://www.rfc-editor.org/rfc/rfc2986)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateRequest {
    /// The request.
    pub der: Vec<u8>,
    /// The SubjectPublicKeyInfo in it.
    pub spki: Vec<u8>,
}

impl CertificateRequest {
    /// Asks for `name`, which is for people alone: who the certificate is of, the issuer decides.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn new(key: &PrivateKeyDer<'_>, name: &str, provider: &CryptoProvider) -> Result<Self, RequestError> {
        let key = signing_key(key, provider)?;
        let spki = key.public_key().ok_or(RequestError::Key)?.to_vec();
        let subject: Name = format!("CN={}", name.get(name.len().saturating_sub(64)..).unwrap_or("x"))
            .parse()
            .map_err(RequestError::Encode)?;
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: SubjectPublicKeyInfoOwned::from_der(&spki)?,
            attributes: SetOfVec::new(),
        };
        let (scheme, signature) = sign(key.as_ref(), &info.to_der()?)?;
        let request = CertReq { info, algorithm: algorithm(scheme)?, signature: BitString::from_bytes(&signature)? };
        Ok(Self { der: request.to_der()?, spki })
    }
}

/// The key as one that signs.
pub(crate) fn signing_key(
    key: &PrivateKeyDer<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, RequestError> {
    provider.key_provider.load_private_key(key.clone_key()).map_err(|_| RequestError::Key)
}

/// Signs with the one scheme that suits the key.
pub(crate) fn sign(key: &dyn SigningKey, message: &[u8]) -> Result<(SignatureScheme, Vec<u8>), RequestError> {
    let signer = key.choose_scheme(SCHEMES).ok_or(RequestError::Key)?;
    let signature = signer.sign(message).map_err(|_| RequestError::Key)?;
    Ok((signer.scheme(), signature))
}

fn algorithm(scheme: SignatureScheme) -> Result<AlgorithmIdentifierOwned, RequestError> {
    let (oid, parameters) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (ECDSA_WITH_SHA256, None),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (ECDSA_WITH_SHA384, None),
        SignatureScheme::ED25519 => (ID_ED25519, None),
        SignatureScheme::RSA_PKCS1_SHA256 => (SHA256_WITH_RSA, Some(Any::encode_from(&Null)?)),
        _ => return Err(RequestError::Key),
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters })
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It cannot be written as DER.
    #[error("the request cannot be encoded: {0}")]
    Encode(#[from] der::Error),
    /// No key came about.
    #[error("no key could be made: the system gives no randomness")]
    Generate,
    /// The key is of no kind that can sign a request.
    #[error("the key cannot sign a request; P-256, P-384, Ed25519 and RSA keys can")]
    Key,
}

const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PKCS1_SHA256,
];
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn requests_carry_the_public_key_and_the_name() {
        let provider = countermark_mtls::provider();
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let key = kind.generate().unwrap();
            let request = CertificateRequest::new(&key, "billing-bot", &provider).unwrap();
            let (rest, read) = X509CertificationRequest::from_der(&request.der).unwrap();
            assert!(rest.is_empty());
            let info = &read.certification_request_info;
            assert_eq!(info.subject.to_string(), "CN=billing-bot");
            assert_eq!(info.subject_pki.raw, request.spki);
        }
    }

    #[test]
    fn two_keys_are_two() {
        let key = |_| KeyKind::P256.generate().unwrap().secret_der().to_vec();
        let [one, other] = [0, 1].map(key);
        assert_ne!(one, other);
    }

    #[test]
    fn a_broken_key_is_refused() {
        let key = PrivateKeyDer::Pkcs8(vec![0x30, 0x00].into());
        let refused = CertificateRequest::new(&key, "x", &countermark_mtls::provider()).unwrap_err();
        assert!(matches!(refused, RequestError::Key));
    }
}
