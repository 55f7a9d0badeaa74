//! An issuer's keys. [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)

use std::fmt;

use super::JwsFault;
use super::algorithm::{Algorithm, RSA};
use super::json::{Object, Value};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The keys of an issuer that verify signatures.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// One of them, made ready for each algorithm that its kind and its own `alg` leave.
pub(crate) struct Key {
    id: Option<String>,
    ready: Vec<(Algorithm, ParsedPublicKey)>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a JWKS cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is not a JWKS document.
    #[error("it is not a JWKS: an object whose member `keys` is an array is wanted")]
    NotKeys,
    /// Nothing in it verifies signatures.
    #[error(
        "it holds no key that verifies signatures: RSA of 2048 bits or more, EC P-256 or P-384, or Ed25519 is wanted"
    )]
    NoneUsable,
    /// Two keys have one id.
    #[error("two of its keys have one id, so that a token does not say which it means")]
    TwiceNamed,
    /// More keys than any issuer has.
    #[error("it holds more than {limit} keys")]
    TooMany {
        /// How many are taken.
        limit: usize,
    },
}

impl KeySet {
    /// Reads a JWKS. Keys for other purposes or of kinds that we do not verify are passed over, symmetric ones always.
    ///
    /// > Implementations SHOULD ignore JWKs within a JWK Set that use "kty" values that are not understood by them
    pub(crate) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let set = Self::published(document)?;
        if set.is_empty() { Err(KeySetError::NoneUsable) } else { Ok(set) }
    }

    /// As [`parse`](Self::parse), but a set of none is one: an issuer that withdraws its last key has said so.
    pub(crate) fn published(document: &[u8]) -> Result<Self, KeySetError> {
        let set = Object::parse(document, 8).ok_or(KeySetError::NotKeys)?;
        let Some(Value::Array(entries)) = set.get("keys") else { return Err(KeySetError::NotKeys) };
        if entries.len() > MOST {
            return Err(KeySetError::TooMany { limit: MOST });
        }
        let keys: Vec<Key> = entries.iter().filter_map(Value::as_object).filter_map(Key::read).collect();
        let twice =
            |(at, key): (usize, &Key)| key.id.is_some() && keys.iter().skip(at + 1).any(|other| other.id == key.id);
        if keys.iter().enumerate().any(twice) {
            return Err(KeySetError::TwiceNamed);
        }
        Ok(Self(keys))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key that a header means: by its id, or, without one, the only one of the algorithm.
    pub(crate) fn choose(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&Key, JwsFault> {
        let fits = |key: &&Key| key.ready(algorithm).is_some() && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(JwsFault::NoKey),
        }
    }
}

impl Key {
    fn read(members: &Object<'_>) -> Option<Self> {
        let text = |name: &str| members.text(name);
        let purpose = members.get("use").is_none_or(|purpose| purpose.as_str() == Some("sig"));
        let verifies = members.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|one| one.as_str() == Some("verify")))
        });
        if !purpose || !verifies {
            return None;
        }
        let (bytes, of_kind): (Vec<u8>, &[Algorithm]) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (rsa(text("n")?, text("e")?)?, &RSA),
            ("EC", Some("P-256")) => (point(text("x")?, text("y")?, 32)?, &[Algorithm::Es256]),
            ("EC", Some("P-384")) => (point(text("x")?, text("y")?, 48)?, &[Algorithm::Es384]),
            ("OKP", Some("Ed25519")) => (whole(text("x")?, 32)?, &[Algorithm::EdDsa]),
            _ => return None,
        };
        let algorithms = match members.get("alg") {
            None => of_kind.to_vec(),
            Some(named) => {
                let named = named.as_str().and_then(Algorithm::parse)?;
                of_kind.contains(&named).then(|| vec![named])?
            }
        };
        let ready = algorithms.into_iter().map(|algorithm| {
            let key = ParsedPublicKey::new(algorithm.verification(), &bytes).ok()?;
            Some((algorithm, key))
        });
        let ready = ready.collect::<Option<Vec<_>>>()?;
        let id = match members.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        Some(Self { id, ready })
    }

    fn ready(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.ready.iter().find(|(of, _)| *of == algorithm).map(|(_, key)| key)
    }

    /// Whether the key made this signature over `signed`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.ready(algorithm).is_some_and(|key| key.verify_sig(signed.as_bytes(), &signature).is_ok())
    }
}

/// At least 2048 bits ([RFC 7518 §3.3](https://www.rfc-editor.org/rfc/rfc7518#section-3.3)) and an odd exponent beyond 1; DER.
fn rsa(n: &str, e: &str) -> Option<Vec<u8>> {
    let (modulus, exponent) = (URL_SAFE_NO_PAD.decode(n).ok()?, URL_SAFE_NO_PAD.decode(e).ok()?);
    let strong = (256..=1024).contains(&modulus.len()) && modulus.first().is_some_and(|first| *first >= 0x80);
    let odd = exponent.len() <= 4 && exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1];
    if !strong || !odd || is_roca(&modulus) {
        return None;
    }
    Some(RsaPublicKeyComponents { n: modulus, e: exponent }.as_der().ok()?.as_ref().to_vec())
}

/// Keys of a broken generator (CVE-2017-15361) leave telling remainders: each is a power of 65537 modulo every small prime.
fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let remainder = modulus.iter().fold(0_u32, |sum, &byte| (sum * 256 + u32::from(byte)) % prime);
        let generator = 65_537 % prime;
        let mut power = 1;
        for _ in 0..prime {
            if power == remainder {
                return true;
            }
            power = power * generator % prime;
        }
        false
    })
}

/// The point, uncompressed: [SEC 1 §2.3.3](https://www.secg.org/sec1-v2.pdf).
fn point(x: &str, y: &str, bytes: usize) -> Option<Vec<u8>> {
    Some([&[4], whole(x, bytes)?.as_slice(), whole(y, bytes)?.as_slice()].concat())
}

fn whole(text: &str, bytes: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|decoded| decoded.len() == bytes)
}

/// Keys of one issuer; the largest hold a dozen.
const MOST: usize = 64;
/// Those for which the powers of 65537 leave something out.
const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
