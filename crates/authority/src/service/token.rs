//! Tokens of configured issuers: that one of them has signed it is said by `oauth`, what it stands for here.

mod config;
mod error;

use countermark_identity::{Clock, UnixTime};
use countermark_oauth::UnverifiedJwt;
use serde_json::{Map, Value};

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

/// Claims that their issuer has signed, of which each name stands once.
pub(crate) struct Claims(pub(crate) Map<String, Value>);

impl Enrolment {
    /// Whom the token enrols, if it is one of ours and good now.
    pub(crate) async fn grant(&self, token: &str, clock: &dyn Clock) -> Result<Grant<'_>, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Long);
        }
        let token = UnverifiedJwt::parse(token)?;
        let named = token.issuer().ok_or(TokenError::Claim { name: "iss" })?;
        let issuer = self.issuers.iter().find(|issuer| issuer.issuer == named).ok_or(TokenError::UnknownIssuer)?;
        let signed = issuer.keys.verify(token).await?;
        if signed.media_type().is_some_and(|kind| kind != "jwt") {
            return Err(TokenError::Type);
        }
        let claims = Claims(signed.claims().clone());
        claims.require_bearer()?;
        claims.require_audience(&issuer.audience)?;
        // Whoever was asked for keys may have taken a while.
        claims.require_time(clock.now())?;
        let subject = claims.text("sub").ok_or(TokenError::Claim { name: "sub" })?.to_owned();
        let rule = issuer.rules.iter().find(|rule| rule.matches(&claims));
        let rule = rule.ok_or_else(|| TokenError::NoRule { subject: subject.clone() })?;
        Ok(Grant { rule, issuer: &issuer.issuer, subject })
    }

    /// Keeps the keys of issuers at URLs fresh, for ever.
    pub(crate) async fn follow(&self) {
        let each = self.issuers.iter().map(|issuer| issuer.keys.follow(&issuer.issuer));
        futures_util::future::join_all(each).await;
        std::future::pending().await
    }
}

impl Claims {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Nothing says more than its claims: what is bound to a key ([RFC 7800](https://www.rfc-editor.org/rfc/rfc7800#section-3))
    /// would be worth an identity in the hands of whoever stole it, and an ID token or a security event is for somebody else.
    fn require_bearer(&self) -> Result<(), TokenError> {
        if self.0.contains_key("cnf") {
            return Err(TokenError::Bound);
        }
        if ["at_hash", "c_hash", "s_hash", "events"].iter().any(|name| self.0.contains_key(*name)) {
            return Err(TokenError::Type);
        }
        Ok(())
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

/// A token that reaches us has travelled: 16 KiB is twice what web servers take in a header.
const LONGEST: usize = 16 * 1024;
/// How far an issuer's clock may be ahead of ours; an end is never put off.
const SKEW: u64 = 60;

#[cfg(test)]
pub(crate) mod tests;
