//! An issuer's keys. [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, RSA};
use super::{JwsFault, json};

/// The keys of an issuer that verify signatures.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// One of them, with the algorithms that its kind and its own `alg` leave.
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
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
        let set = json::object(document, 8).ok_or(KeySetError::NotKeys)?;
        let Some(Value::Array(entries)) = set.get("keys") else { return Err(KeySetError::NotKeys) };
        if entries.len() > MOST {
            return Err(KeySetError::TooMany { limit: MOST });
        }
        let keys: Vec<Key> = entries.iter().filter_map(Value::as_object).filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoneUsable);
        }
        let twice =
            |(at, key): (usize, &Key)| key.id.is_some() && keys.iter().skip(at + 1).any(|other| other.id == key.id);
        if keys.iter().enumerate().any(twice) {
            return Err(KeySetError::TwiceNamed);
        }
        Ok(Self(keys))
    }

    /// The one key that a header means: by its id, or, without one, the only one of the algorithm.
    pub(crate) fn choose(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&Key, JwsFault> {
        let fits =
            |key: &&Key| key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(JwsFault::NoKey),
        }
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let purpose = members.get("use").is_none_or(|purpose| purpose == "sig");
        let verifies = members.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|one| one == "verify"))
        });
        if !purpose || !verifies {
            return None;
        }
        let (key, of_kind): (DecodingKey, &[Algorithm]) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (rsa(text("n")?, text("e")?)?, &RSA),
            ("EC", Some("P-256")) => (point(text("x")?, text("y")?, 32)?, &[Algorithm::Es256]),
            ("EC", Some("P-384")) => (point(text("x")?, text("y")?, 48)?, &[Algorithm::Es384]),
            ("OKP", Some("Ed25519")) => {
                whole(text("x")?, 32).then_some(())?;
                (DecodingKey::from_ed_components(text("x")?).ok()?, &[Algorithm::EdDsa])
            }
            _ => return None,
        };
        let algorithms = match members.get("alg") {
            None => of_kind.to_vec(),
            Some(named) => {
                let named = named.as_str().and_then(Algorithm::parse)?;
                of_kind.contains(&named).then(|| vec![named])?
            }
        };
        let id = match members.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        Some(Self { id, algorithms, key })
    }

    /// Whether the key made this signature over `signed`. Whatever the library could not do is not verified.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        matches!(jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, algorithm.into()), Ok(true))
    }
}

/// At least 2048 bits ([RFC 7518 §3.3](https://www.rfc-editor.org/rfc/rfc7518#section-3.3)) and an odd exponent beyond 1.
fn rsa(n: &str, e: &str) -> Option<DecodingKey> {
    let (modulus, exponent) = (URL_SAFE_NO_PAD.decode(n).ok()?, URL_SAFE_NO_PAD.decode(e).ok()?);
    let strong = (256..=1024).contains(&modulus.len()) && modulus.first().is_some_and(|first| *first >= 0x80);
    let odd = exponent.len() <= 4 && exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1];
    if !strong || !odd || is_roca(&modulus) {
        return None;
    }
    DecodingKey::from_rsa_components(n, e).ok()
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

fn point(x: &str, y: &str, bytes: usize) -> Option<DecodingKey> {
    if !whole(x, bytes) || !whole(y, bytes) {
        return None;
    }
    DecodingKey::from_ec_components(x, y).ok()
}

fn whole(text: &str, bytes: usize) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|decoded| decoded.len() == bytes)
}

/// Keys of one issuer; the largest hold a dozen.
const MOST: usize = 64;
/// Those for which the powers of 65537 leave something out.
const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
