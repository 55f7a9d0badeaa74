//! A token as its client holds it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use countermark_credential::Credential;
use countermark_identity::{Thumbprint, UnixTime};
use http::HeaderValue;
use serde_json::{Map, Value};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::jose::json::Object;

/// A token with the certificate that it is bound to: of use over connections that present that certificate, until the
/// earlier of the two ends. Its bytes are wiped when the last holder drops it.
pub struct BoundToken {
    /// `Bearer …`, or `DPoP …`.
    header: HeaderValue,
    value: Bytes,
    issued: Instant,
    not_after: UnixTime,
    refresh_at: UnixTime,
    scopes: Vec<String>,
    binding: Bound,
}

/// What a new token was found to be bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever shows it must say something about each")]
pub enum Bound {
    /// The certificate that it was asked for with.
    Certificate(Thumbprint),
    /// The key that proofs of possession are signed with (RFC 9449).
    Key,
    /// It is opaque, and its issuer does not tell us; only the server knows.
    Unknown,
}

/// Why a new token is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbound {
    /// It is bound to another certificate.
    #[error(
        "the new token is bound to another certificate than the one that it was asked for with; nothing may stand between us and the token endpoint"
    )]
    Other,
    /// It is bound to nothing.
    #[error(
        "the new token is bound to no certificate (no cnf); have the server bind this client's tokens: tls_client_certificate_bound_access_tokens"
    )]
    Nothing,
}

/// What the server answered, before it is looked at.
pub(super) struct Fresh {
    pub(super) value: Zeroizing<Vec<u8>>,
    pub(super) lives: Option<u64>,
    pub(super) scopes: Vec<String>,
}

impl BoundToken {
    /// Looks at a new token as far as a client may: whether it is bound to what we present. It reads nothing else of it, as
    /// [RFC 9068 §6](https://www.rfc-editor.org/rfc/rfc9068#section-6) wants.
    pub(super) fn examine(
        fresh: Fresh,
        credential: &Credential,
        proof: Option<&str>,
        now: UnixTime,
    ) -> Result<Self, Misbound> {
        let binding = match payload(&fresh.value) {
            Some(claims) => bound(&claims, credential, proof)?,
            None => Bound::Unknown,
        };
        let lives = fresh.lives.unwrap_or(ASSUMED).min(LONGEST);
        let not_after = UnixTime::from_secs(now.as_secs().saturating_add(lives)).min(credential.leaf().not_after());
        let life = not_after.as_secs().saturating_sub(now.as_secs());
        let margin = (life / 4).min(MARGIN);
        let refresh_at = UnixTime::from_secs(not_after.as_secs() - margin - jitter((life / 10).min(MARGIN)));
        let scheme = if proof.is_some() { "DPoP " } else { "Bearer " };
        let mut text = Zeroizing::new(Vec::with_capacity(scheme.len() + fresh.value.len()));
        text.extend_from_slice(scheme.as_bytes());
        text.extend_from_slice(&fresh.value);
        let whole = Bytes::from_owner(text);
        let value = whole.slice(scheme.len()..);
        // Characters were looked at when it was read.
        let mut header = HeaderValue::from_maybe_shared(whole).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        Ok(Self { header, value, issued: Instant::now(), not_after, refresh_at, scopes: fresh.scopes, binding })
    }

    /// Takes over what the issuer says of an opaque token, which is then held to the same as a signed one.
    pub(super) fn confirm(
        &mut self,
        claims: &Map<String, Value>,
        credential: &Credential,
        proof: Option<&str>,
    ) -> Result<(), Misbound> {
        self.binding = bound(claims, credential, proof)?;
        Ok(())
    }

    /// The value of `Authorization`, marked as sensitive. A copy of the pointer, not of the token.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The token itself, for whoever must print it. `grep expose` finds every reader.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap_or_default()
    }

    /// The end of the token or of its certificate, whichever comes first.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// When it should be replaced: before its end by a margin, and by a little more that differs between clients.
    #[must_use]
    pub const fn refresh_at(&self) -> UnixTime {
        self.refresh_at
    }

    /// The scopes that the server gave.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Whether it was issued so lately, by a clock that nobody sets, that a server which refuses it does so for another reason than
    /// its age.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.issued.elapsed() < YOUNG
    }

    /// What it is bound to.
    #[must_use]
    pub const fn binding(&self) -> Bound {
        self.binding
    }

    /// What the token says of itself, where it is a signed one: for people to look at, never to decide by.
    #[must_use]
    pub fn unverified_claims(&self) -> Option<Map<String, Value>> {
        payload(&self.value)
    }
}

fn bound(claims: &Map<String, Value>, credential: &Credential, proof: Option<&str>) -> Result<Bound, Misbound> {
    let presented = *credential.leaf().thumbprint();
    let Some(cnf) = claims.get("cnf") else { return Err(Misbound::Nothing) };
    let text = |name: &str| cnf.get(name).and_then(Value::as_str);
    match (text("x5t#S256"), text("jkt"), proof) {
        (_, Some(bound), Some(ours)) if bound == ours => Ok(Bound::Key),
        (Some(bound), None, None) if Thumbprint::from_base64url(bound) == Ok(presented) => {
            Ok(Bound::Certificate(presented))
        }
        _ => Err(Misbound::Other),
    }
}

fn payload(token: &[u8]) -> Option<Map<String, Value>> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(_), Some(body), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    Object::parse(&URL_SAFE_NO_PAD.decode(body).ok()?, 16).map(Into::into)
}

/// Anything from nothing to `most`, another each time.
pub(super) fn jitter(most: u64) -> u64 {
    RandomState::new().hash_one(0_u8) % (most + 1)
}

impl fmt::Debug for BoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundToken")
            .field("not_after", &self.not_after)
            .field("scopes", &self.scopes)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// A server that refuses every token costs one request for a token in so long.
const YOUNG: Duration = Duration::from_secs(10);
/// Seconds that a token is taken to live whose server does not say.
const ASSUMED: u64 = 60;
/// Seconds: no life is longer, whatever a server says.
const LONGEST: u64 = 7 * 24 * 3600;
/// Seconds before its end at which a token is replaced at the latest.
const MARGIN: u64 = 30;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_opaque_token_goes_with_the_scheme_that_it_was_asked_for_with() {
        let (ca, claims) = (countermark_testkit::TestCa::new("agents.internal"), json!({"cnf": {"jkt": "k"}}));
        let credential = ca.agent("billing-bot");
        for (proof, scheme) in [(None, "Bearer opaque"), (Some("k"), "DPoP opaque")] {
            let fresh = Fresh { value: Zeroizing::new(b"opaque".to_vec()), lives: Some(60), scopes: Vec::new() };
            let mut token = BoundToken::examine(fresh, &credential, proof, credential.leaf().not_before()).unwrap();
            assert_eq!((token.header().to_str().unwrap(), token.binding()), (scheme, Bound::Unknown));
            let confirmed = token.confirm(claims.as_object().unwrap(), &credential, proof);
            assert_eq!(confirmed, if proof.is_some() { Ok(()) } else { Err(Misbound::Other) });
        }
    }
}
