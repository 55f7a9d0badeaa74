//! Tokens of configured issuers, read strictly: header, choice of the key, claims and clock are ours; the signature alone is
//! the library's.

mod config;
mod error;
mod keys;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_identity::UnixTime;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

pub(crate) use self::config::Rule;
pub use self::{
    config::{Enrolment, EnrolmentError},
    error::TokenError,
};

/// What a token gives.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) issuer: &'a str,
    /// Who the issuer says it is.
    pub(crate) subject: String,
}

/// The members that decide anything; [RFC 7515 §4.1.11](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11) has the
/// recipient refuse what it must understand and does not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
}

/// Claims of which each name stands once.
pub(crate) struct Claims(pub(crate) BTreeMap<String, Value>);

impl Enrolment {
    /// Whom the token enrols, if it is one of ours and good now.
    pub(crate) fn grant(&self, token: &str, now: UnixTime) -> Result<Grant<'_>, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed("it has more than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("a signed token has three parts"));
        };
        let header: Header = decode(head)?;
        header.require_plain()?;
        // Not believed: it only says whose keys to try.
        let claims: Claims = decode(body)?;
        let named = claims.text("iss").ok_or(TokenError::Claim { name: "iss" })?;
        let issuer = self.issuers.iter().find(|issuer| issuer.issuer == named).ok_or(TokenError::UnknownIssuer)?;
        let key = issuer.keys.choose(&header.alg, header.kid.as_deref())?;
        let signed = token.get(..head.len() + 1 + body.len()).unwrap_or_default();
        if !key.verifies(signed, signature) {
            return Err(TokenError::Signature);
        }
        claims.require_audience(&issuer.audience)?;
        claims.require_time(now)?;
        let subject = claims.text("sub").ok_or(TokenError::Claim { name: "sub" })?.to_owned();
        let rule = issuer.rules.iter().find(|rule| rule.matches(&claims));
        let rule = rule.ok_or_else(|| TokenError::NoRule { subject: subject.clone() })?;
        Ok(Grant { rule, issuer: &issuer.issuer, subject })
    }
}

impl Header {
    fn require_plain(&self) -> Result<(), TokenError> {
        if self.crit.is_some() || self.b64.is_some() {
            return Err(TokenError::Malformed("its header has extensions that must be understood"));
        }
        match &self.typ {
            Some(typ) if !typ.eq_ignore_ascii_case("JWT") => Err(TokenError::Malformed("its type is not JWT")),
            _ => Ok(()),
        }
    }
}

impl Claims {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// [RFC 7519 §4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3): one text, or a list of which one is ours.
    fn require_audience(&self, wanted: &str) -> Result<(), TokenError> {
        let found = match self.0.get("aud") {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(many)) => {
                many.iter().all(Value::is_string) && many.iter().any(|one| one.as_str() == Some(wanted))
            }
            _ => return Err(TokenError::Claim { name: "aud" }),
        };
        if found { Ok(()) } else { Err(TokenError::Audience) }
    }

    fn require_time(&self, now: UnixTime) -> Result<(), TokenError> {
        let exp = self.seconds("exp")?.ok_or(TokenError::Claim { name: "exp" })?;
        if now.as_secs() >= exp {
            return Err(TokenError::Expired { at: UnixTime::from_secs(exp) });
        }
        for name in ["nbf", "iat"] {
            if let Some(from) = self.seconds(name)?
                && from > now.as_secs() + SKEW
            {
                return Err(TokenError::NotYet { from: UnixTime::from_secs(from) });
            }
        }
        Ok(())
    }

    /// Whole seconds, rounded down; nothing where the claim is absent.
    fn seconds(&self, name: &'static str) -> Result<Option<u64>, TokenError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        if let Some(whole) = value.as_u64() {
            return Ok(Some(whole));
        }
        // A date with a fraction is still a date; anything else is none.
        let text =
            value.as_f64().filter(|date| *date >= 0.0 && *date < 1e12).map(|date| format!("{:.0}", date.floor()));
        text.and_then(|text| text.parse().ok()).map(Some).ok_or(TokenError::Claim { name })
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> de::Visitor<'de> for Once {
            type Value = Claims;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("claims")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim stands twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed("a part is not base64url"))?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed("a part is not the JSON that belongs there"))
}

/// A token that reaches us has travelled: 16 KiB is twice what web servers take in a header.
const LONGEST: usize = 16 * 1024;
/// How far an issuer's clock may be ahead of ours; an end is never put off.
const SKEW: u64 = 60;

#[cfg(test)]
pub(crate) mod tests;
