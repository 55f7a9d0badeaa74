//! Signed tokens, read strictly: header, choice of the key and JSON are ours; the signature alone is aws-lc-rs's.
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515), [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)

mod algorithm;
mod header;
pub(crate) mod json;
mod key;
mod sign;

#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) use self::algorithm::Algorithm;
pub(crate) use self::header::Header;
use self::json::Object;
pub(crate) use self::key::KeySet;
pub use self::key::KeySetError;
pub use self::sign::{SigningKey, SigningKeyError};

/// A token in three parts, the first two of which are decoded and not yet looked at.
pub(crate) struct Parts<'a> {
    header: Vec<u8>,
    payload: Vec<u8>,
    signed: &'a str,
    signature: &'a str,
}

/// A token that is read and not yet believed.
#[derive(Debug)]
pub(crate) struct Compact<'a> {
    pub(crate) header: Header<'a>,
    /// The payload; its issuer says whose keys to try, and nothing else counts before the signature does.
    pub(crate) claims: Object<'a>,
    signed: &'a str,
    signature: &'a str,
}

/// Why a token is not one that an issuer signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsFault {
    /// Not three parts of base64url with JSON in the first two.
    #[error("it is not a signed token of three parts in base64url: {0}")]
    Form(&'static str),
    /// The algorithm is missing, unknown or forbidden.
    #[error("its `alg` is missing or none that is accepted: EdDSA, ES256, ES384, PS256 to PS512, RS256 to RS512")]
    Algorithm,
    /// A header that changes how the rest is read.
    #[error("its header has `{0}`, which is not understood")]
    Extension(&'static str),
    /// A header that brings or names a key of its own.
    #[error("its header brings a key of its own (`{0}`); only the issuer's published keys count")]
    OwnKey(&'static str),
    /// A header member of the wrong kind.
    #[error("its header's `{0}` is not what it should be")]
    Header(&'static str),
    /// The issuer has no such key, or more than one.
    #[error("its issuer publishes no single key that its `kid` and `alg` mean")]
    NoKey,
    /// The signature is wrong.
    #[error("its signature is not its issuer's")]
    Signature,
}

impl<'a> Parts<'a> {
    /// Takes a token apart. [RFC 7515 §7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1)
    pub(crate) fn of(token: &'a str) -> Result<Self, JwsFault> {
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsFault::Form("it has not three parts"));
        };
        if signature.is_empty() {
            return Err(JwsFault::Form("it has no signature"));
        }
        let signed = token.get(..head.len() + 1 + body.len()).unwrap_or_default();
        Ok(Self { header: decoded(head)?, payload: decoded(body)?, signed, signature })
    }

    /// Reads what was taken apart: two JSON objects in which no name stands twice.
    pub(crate) fn read(&self) -> Result<Compact<'_>, JwsFault> {
        let object = |json, what| Object::parse(json, DEPTH).ok_or(JwsFault::Form(what));
        let header = Header::read(&object(&self.header, "the header is not a JSON object")?)?;
        let claims = object(&self.payload, "the payload is not a JSON object")?;
        Ok(Compact { header, claims, signed: self.signed, signature: self.signature })
    }
}

impl Compact<'_> {
    /// Verifies the signature with the one key that the header means.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<(), JwsFault> {
        let key = keys.choose(self.header.algorithm, self.header.key.as_deref())?;
        if key.verifies(self.header.algorithm, self.signed, self.signature) { Ok(()) } else { Err(JwsFault::Signature) }
    }
}

/// One part: base64url without padding, canonical.
fn decoded(part: &str) -> Result<Vec<u8>, JwsFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsFault::Form("a part is not canonical base64url"))
}

/// Levels of JSON; Keycloak's roles need four.
const DEPTH: usize = 16;
