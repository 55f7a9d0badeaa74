//! Tokens that we sign ourselves: client assertions and proofs of possession.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use super::Algorithm;

/// A private key that signs tokens; the library keeps it and wipes it.
pub struct SigningKey {
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair, Curve),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

/// Why a key signs no tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key signs no tokens; EC P-256 or P-384, Ed25519 or RSA of 2048 bits or more is wanted")]
pub struct SigningKeyError(());

/// Nothing that signs could be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key could not sign")]
pub(crate) struct Unsigned(());

impl SigningKey {
    /// The key of a credential, or of a file.
    ///
    /// # Errors
    /// It is of another kind than those that tokens are signed with.
    pub fn new(key: &PrivateKeyDer<'_>) -> Result<Self, SigningKeyError> {
        let der = key.secret_der();
        let of = |curve: Curve| match key {
            PrivateKeyDer::Sec1(_) => EcdsaKeyPair::from_private_key_der(curve.signing(), der),
            _ => EcdsaKeyPair::from_pkcs8(curve.signing(), der),
        };
        let rsa = || match key {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
            _ => RsaKeyPair::from_pkcs8(der),
        };
        let pair = of(Curve::P256)
            .map(|pair| Pair::Ec(pair, Curve::P256))
            .or_else(|_| of(Curve::P384).map(|pair| Pair::Ec(pair, Curve::P384)))
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed))
            .or_else(|_| rsa().map(Pair::Rsa));
        Ok(Self { pair: pair.map_err(|_| SigningKeyError(()))? })
    }

    /// A new P-256 key, which lives as long as this value.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, SigningKeyError> {
        let pair = EcdsaKeyPair::generate(Curve::P256.signing()).map_err(|_| SigningKeyError(()))?;
        Ok(Self { pair: Pair::Ec(pair, Curve::P256) })
    }

    /// What it signs with for whoever takes these algorithms: PS256 before RS256 with RSA, of those that are named. Who names
    /// none takes RS256 ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
    pub(crate) fn algorithm(&self, accepted: &[String]) -> Algorithm {
        match &self.pair {
            Pair::Ec(_, Curve::P256) => Algorithm::Es256,
            Pair::Ec(_, Curve::P384) => Algorithm::Es384,
            Pair::Ed(_) => Algorithm::EdDsa,
            Pair::Rsa(_) if accepted.iter().any(|name| name == Algorithm::Ps256.as_str()) => Algorithm::Ps256,
            Pair::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// The public key, with the members that [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638) requires and no others.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ec(pair, curve) => {
                // An uncompressed point: 4, x, y.
                let (x, y) = pair.public_key().as_ref().get(1..).unwrap_or_default().split_at(curve.bytes());
                json!({"crv": curve.name(), "kty": "EC", "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => json!({"crv": "Ed25519", "kty": "OKP", "x": text(pair.public_key().as_ref())}),
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({"e": text(e.big_endian_without_leading_zero()), "kty": "RSA", "n": text(n.big_endian_without_leading_zero())})
            }
        }
    }

    /// The public key's thumbprint. [RFC 7638 §3](https://www.rfc-editor.org/rfc/rfc7638#section-3)
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // serde_json writes the members of an object in the order of their names, as the RFC wants them.
        let canonical = self.public_jwk().to_string();
        URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes()))
    }

    /// Signs claims into a compact token; `header` gains `alg`.
    pub(crate) fn sign(&self, header: Value, claims: &Value) -> Result<String, Unsigned> {
        self.sign_for(&[], header, claims)
    }

    /// [`SigningKey::sign`] for whoever takes these algorithms.
    pub(crate) fn sign_for(&self, accepted: &[String], mut header: Value, claims: &Value) -> Result<String, Unsigned> {
        let algorithm = self.algorithm(accepted);
        if let Some(members) = header.as_object_mut() {
            members.insert("alg".to_owned(), algorithm.as_str().into());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.signature(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair, _) => Ok(pair.sign(&random, message).map_err(|_| Unsigned(()))?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = if algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).map_err(|_| Unsigned(()))?;
                Ok(signature)
            }
        }
    }
}

impl Curve {
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm(&[]).as_str())
    }
}
