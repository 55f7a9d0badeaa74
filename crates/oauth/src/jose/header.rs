//! The header of a signed token.

use std::borrow::Cow;

use super::json::{Object, Value};
use super::{Algorithm, JwsFault};

/// What a header says, as far as anything depends on it. Keys that it carries or points to (`jwk`, `x5c`, `jku`, `x5u`)
/// are a refusal: the only keys are those of the issuer.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) kind: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(super) fn read(members: &Object<'a>) -> Result<Self, JwsFault> {
        // RFC 7515 §4.1.11: what must be understood and is not, is refused; we understand no extension.
        for name in ["crit", "b64", "zip", "enc"] {
            if members.contains(name) {
                return Err(JwsFault::Extension(name));
            }
        }
        for name in ["jwk", "jku", "x5c", "x5u"] {
            if members.contains(name) {
                return Err(JwsFault::OwnKey(name));
            }
        }
        // RFC 7519 §5.2: a token within a token.
        if members.contains("cty") {
            return Err(JwsFault::Extension("cty"));
        }
        let algorithm = match members.get("alg") {
            Some(Value::Text(name)) => Algorithm::parse(name).ok_or(JwsFault::Algorithm)?,
            _ => return Err(JwsFault::Algorithm),
        };
        let key = text(members, "kid")?;
        if key.as_ref().is_some_and(|kid| kid.len() > LONGEST_ID) {
            return Err(JwsFault::Header("kid"));
        }
        Ok(Self { algorithm, key, kind: text(members, "typ")? })
    }

    /// The `typ`, in lower case and without `application/` ([RFC 7515 §4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)).
    pub(crate) fn media_type(self) -> Option<Cow<'a, str>> {
        let kind = self.kind?;
        let plain = !kind.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'/');
        if plain {
            return Some(kind);
        }
        let kind = kind.to_ascii_lowercase();
        Some(kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind).into())
    }
}

fn text<'a>(members: &Object<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, JwsFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JwsFault::Header(name)),
    }
}

/// Bytes of a key id; issuers use thumbprints and UUIDs.
const LONGEST_ID: usize = 256;
