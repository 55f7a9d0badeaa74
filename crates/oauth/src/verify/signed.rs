//! Signed tokens of any kind: whether their issuer signed them, and nothing else.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use countermark_identity::Clock;
use serde_json::{Map, Value};

use super::keys::Keyring;
use super::source::KeySource;
use crate::jose::json::Object;
use crate::jose::{Compact, JwsFault, KeySet, KeySetError, Parts};

/// A signed token, taken apart and not yet believed.
pub struct UnverifiedJwt<'a> {
    parts: Parts<'a>,
    issuer: Option<String>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes a token apart, strictly.
    ///
    /// # Errors
    /// It is no signed token as we read them.
    pub fn parse(token: &'a str) -> Result<Self, JwsFault> {
        let parts = Parts::of(token)?;
        let issuer = parts.read()?.claims.text("iss").map(str::to_owned);
        Ok(Self { parts, issuer })
    }

    /// Who it says has signed it: that decides whose keys are tried, and nothing else.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

impl fmt::Debug for UnverifiedJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What an issuer has signed, where it stands in the token; none of it is judged.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    /// [`SignedJwt::media_type`]
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) claims: Object<'a>,
}

impl<'a> Signed<'a> {
    /// The token's content if one of these keys signed it; the token again if not.
    pub(super) fn of(token: Compact<'a>, keys: &KeySet) -> Result<Self, Box<(Compact<'a>, JwsFault)>> {
        match token.verify(keys) {
            Ok(()) => Ok(Self { kind: token.header.media_type(), claims: token.claims }),
            Err(fault) => Err(Box::new((token, fault))),
        }
    }
}

/// What an issuer has signed; none of it is judged.
#[derive(Debug)]
pub struct SignedJwt {
    kind: Option<String>,
    claims: Map<String, Value>,
}

impl SignedJwt {
    /// The `typ`, in lower case and without `application/` ([RFC 7515 §4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)).
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The claims, each name once.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

impl From<Signed<'_>> for SignedJwt {
    fn from(signed: Signed<'_>) -> Self {
        Self { kind: signed.kind.map(Cow::into_owned), claims: signed.claims.into() }
    }
}

/// The keys of one issuer. Clones are the same keys.
#[derive(Clone, Debug)]
pub struct IssuerKeys(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Fixed(Arc<KeySet>),
    Fresh(Arc<Keyring>),
}

impl IssuerKeys {
    /// The keys of a JWKS that somebody wrote down, which stay as they are.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn fixed(document: &[u8]) -> Result<Self, KeySetError> {
        Ok(Self(Kept::Fixed(Arc::new(KeySet::parse(document)?))))
    }

    /// Keys that are fetched when a token needs them, and from time to time where somebody [follows](Self::follow) them. They count
    /// on while their source does not answer, for a day of this clock.
    #[must_use]
    pub fn fresh(source: Box<dyn KeySource>, clock: Arc<dyn Clock>) -> Self {
        Self(Kept::Fresh(Arc::new(Keyring::new(source, clock))))
    }

    /// Whether the issuer has signed it.
    ///
    /// # Errors
    /// [`SignatureRefusal`].
    pub async fn verify(&self, token: UnverifiedJwt<'_>) -> Result<SignedJwt, SignatureRefusal> {
        let token = token.parts.read()?;
        let signed = match &self.0 {
            Kept::Fixed(keys) => Signed::of(token, keys).map_err(|refused| refused.1)?,
            Kept::Fresh(keys) => keys.verify(token).await?.0,
        };
        Ok(signed.into())
    }

    /// Fetches the keys now, and again every five minutes, for ever; `issuer` is who the log says it is.
    pub async fn follow(&self, issuer: &str) {
        match &self.0 {
            Kept::Fixed(_) => std::future::pending().await,
            Kept::Fresh(keys) => keys.follow(issuer).await,
        }
    }
}

/// Why nothing is known to be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "the token's fault or ours: there is no third")]
pub enum SignatureRefusal {
    /// The token's fault.
    #[error(transparent)]
    Jws(#[from] JwsFault),
    /// The issuer's keys are not known, or not whether it has the one that the token names.
    #[error("the keys of its issuer are not known now")]
    Unavailable,
}
