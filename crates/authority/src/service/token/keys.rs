//! The keys of an issuer, from its JWKS. [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::error::TokenError;

/// The keys that may have signed a token.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms that the key's kind, and its own `alg`, leave.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A key with the one algorithm that a token says.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    key: &'a DecodingKey,
    algorithm: Algorithm,
}

impl Keys {
    /// Reads a JWKS. Keys for other purposes, or of kinds that we do not verify, are passed over; symmetric ones always.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("it is not a JWKS: {error}"))?;
        let keys: Vec<Key> = set.keys.iter().filter_map(Jwk::key).collect();
        if keys.is_empty() {
            return Err("it holds no key that verifies signatures: RSA, EC (P-256, P-384) or Ed25519".to_owned());
        }
        for (at, key) in keys.iter().enumerate() {
            if key.id.is_some() && keys.iter().skip(at + 1).any(|other| other.id == key.id) {
                return Err(format!("two of its keys have the id `{}`", key.id.as_deref().unwrap_or_default()));
            }
        }
        Ok(Self(keys))
    }

    /// The one key that a header's words stand for.
    pub(super) fn choose(&self, alg: &str, kid: Option<&str>) -> Result<Chosen<'_>, TokenError> {
        let algorithm = algorithm(alg).ok_or(TokenError::NoKey)?;
        let fits =
            |key: &&Key| key.algorithms.contains(&algorithm) && kid.is_none_or(|kid| key.id.as_deref() == Some(kid));
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(Chosen { key: &key.key, algorithm }),
            _ => Err(TokenError::NoKey),
        }
    }
}

impl Chosen<'_> {
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        // Whatever the library could not do is not verified.
        matches!(jsonwebtoken::crypto::verify(signature, signed.as_bytes(), self.key, self.algorithm), Ok(true))
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwk {
    fn key(&self) -> Option<Key> {
        let for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures || !verifies {
            return None;
        }
        let (key, of_kind) = self.of_kind()?;
        let algorithms: Vec<Algorithm> = match &self.alg {
            Some(alg) => of_kind.iter().copied().filter(|known| algorithm(alg) == Some(*known)).collect(),
            None => of_kind.to_vec(),
        };
        (!algorithms.is_empty()).then(|| Key { id: self.kid.clone(), algorithms, key })
    }

    fn of_kind(&self) -> Option<(DecodingKey, &'static [Algorithm])> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (self.n.as_deref()?, self.e.as_deref()?);
                let modulus = URL_SAFE_NO_PAD.decode(n).ok()?;
                let strong = modulus.len() >= RSA_BYTES && modulus.first().is_some_and(|first| *first != 0);
                let key = DecodingKey::from_rsa_components(n, e).ok()?;
                strong.then_some((key, RSA))
            }
            ("EC", Some("P-256")) => Some((self.point(32)?, &[Algorithm::ES256])),
            ("EC", Some("P-384")) => Some((self.point(48)?, &[Algorithm::ES384])),
            ("OKP", Some("Ed25519")) => {
                Some((DecodingKey::from_ed_components(self.x.as_deref()?).ok()?, &[Algorithm::EdDSA]))
            }
            _ => None,
        }
    }

    fn point(&self, bytes: usize) -> Option<DecodingKey> {
        let (x, y) = (self.x.as_deref()?, self.y.as_deref()?);
        let whole = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|decoded| decoded.len() == bytes);
        if !whole(x) || !whole(y) {
            return None;
        }
        DecodingKey::from_ec_components(x, y).ok()
    }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDSA),
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        "PS256" => Some(Algorithm::PS256),
        "PS384" => Some(Algorithm::PS384),
        "PS512" => Some(Algorithm::PS512),
        _ => None,
    }
}

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
/// 2048 bits.
const RSA_BYTES: usize = 256;
