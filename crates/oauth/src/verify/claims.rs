//! Claims on their way from signed to valid.

use std::borrow::Cow;

use countermark_identity::{Thumbprint, UnixTime};

use super::refusal::TokenRefusal;
use super::rules::{Binding, ClaimPath, IssuerRules, Profile};
use super::signed::Signed;
use crate::jose::json::{Object, Value};

/// Claims that an issuer signed, or said of an opaque token when it was asked; nothing else of them is judged yet.
#[derive(Debug)]
pub(super) struct SignedClaims<'a> {
    claims: Object<'a>,
    origin: Origin<'a>,
}

#[derive(Debug)]
enum Origin<'a> {
    /// A signature, under a header with this `typ`.
    Signature { kind: Option<Cow<'a, str>> },
    /// An answer of the issuer's introspection endpoint.
    Introspection,
}

/// Claims of an access token that is ours and good now, whoever holds it.
#[derive(Debug)]
pub(super) struct ValidClaims {
    pub(super) subject: Box<str>,
    pub(super) client: Box<str>,
    /// Sorted.
    pub(super) scopes: Vec<Box<str>>,
    /// Sorted.
    pub(super) roles: Vec<Box<str>>,
    /// From the latest actor to the first.
    pub(super) actors: Vec<Box<str>>,
    pub(super) not_after: UnixTime,
    pub(super) bound_to: Option<Thumbprint>,
}

impl<'a> SignedClaims<'a> {
    /// The claims of a token whose signature is its issuer's.
    pub(super) fn signed(token: Signed<'a>) -> Self {
        Self { origin: Origin::Signature { kind: token.kind }, claims: token.claims }
    }

    /// What the issuer says of a token that it calls active ([RFC 7662 §2.2](https://www.rfc-editor.org/rfc/rfc7662#section-2.2)).
    pub(super) const fn introspected(claims: Object<'a>) -> Self {
        Self { claims, origin: Origin::Introspection }
    }

    /// Judges type, audience, time and form.
    pub(super) fn validate(&self, rules: &IssuerRules, now: UnixTime) -> Result<ValidClaims, TokenRefusal> {
        self.require_access_token(rules.profile)?;
        self.require_issuer(rules)?;
        self.require_audience(rules)?;
        let not_after = self.require_time(rules, now)?;
        let bound_to = self.confirmation()?;
        if bound_to.is_none() && rules.binding == Binding::Certificate {
            return Err(TokenRefusal::Unbound);
        }
        Ok(ValidClaims {
            subject: self.subject()?,
            client: self.client(rules.profile)?,
            scopes: self.scopes()?,
            roles: self.roles(&rules.roles)?,
            actors: self.actors(rules.actors)?,
            not_after,
            bound_to,
        })
    }

    /// [RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4):
    ///
    /// > The resource server MUST verify that the "typ" header value is "at+jwt" or "application/at+jwt" and reject tokens
    /// > carrying any other value.
    fn require_access_token(&self, profile: Profile) -> Result<(), TokenRefusal> {
        // What makes an ID token or a security event is in no access token.
        if ["at_hash", "c_hash", "s_hash", "events"].iter().any(|name| self.claims.contains(name)) {
            return Err(TokenRefusal::Type);
        }
        let Origin::Signature { kind } = &self.origin else { return Ok(()) };
        let keycloak = || self.claims.text("typ") == Some("Bearer");
        match (kind.as_deref(), profile) {
            (Some("at+jwt"), _) => Ok(()),
            (Some("jwt"), Profile::Keycloak) if keycloak() => Ok(()),
            _ => Err(TokenRefusal::Type),
        }
    }

    fn require_issuer(&self, rules: &IssuerRules) -> Result<(), TokenRefusal> {
        match self.claims.get("iss") {
            Some(Value::Text(issuer)) if *issuer == rules.issuer => Ok(()),
            None if matches!(self.origin, Origin::Introspection) => Ok(()),
            _ => Err(TokenRefusal::Issuer),
        }
    }

    /// [RFC 7519 §4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3): one text, or a list of which one is ours.
    fn require_audience(&self, rules: &IssuerRules) -> Result<(), TokenRefusal> {
        let ours = |audience: &str| rules.audiences.iter().any(|one| one == audience);
        let found = match self.claims.get("aud") {
            Some(Value::Text(one)) => ours(one),
            Some(Value::Array(many)) if many.len() <= MOST && many.iter().all(|one| one.as_str().is_some()) => {
                many.iter().filter_map(Value::as_str).any(ours)
            }
            _ => return Err(TokenRefusal::Claim("aud")),
        };
        if found {
            return Ok(());
        }
        Err(TokenRefusal::Audience { wanted: rules.audiences.first().cloned().unwrap_or_default() })
    }

    fn require_time(&self, rules: &IssuerRules, now: UnixTime) -> Result<UnixTime, TokenRefusal> {
        let end = self.seconds("exp")?.ok_or(TokenRefusal::Claim("exp"))?;
        if now.as_secs() >= end {
            return Err(TokenRefusal::Expired { at: UnixTime::from_secs(end) });
        }
        let latest = now.saturating_add(rules.leeway).as_secs();
        let (issued, begins) = (self.seconds("iat")?, self.seconds("nbf")?);
        if let Some(from) = [issued, begins].into_iter().flatten().find(|from| *from > latest) {
            return Err(TokenRefusal::NotYet { from: UnixTime::from_secs(from) });
        }
        let issued = match (issued, &self.origin) {
            (Some(issued), _) => issued,
            (None, Origin::Introspection) => now.as_secs(),
            (None, Origin::Signature { .. }) => return Err(TokenRefusal::Claim("iat")),
        };
        if end.saturating_sub(issued) > rules.longest.as_secs() {
            return Err(TokenRefusal::Life);
        }
        Ok(UnixTime::from_secs(end))
    }

    /// Whole seconds; a date as text, with a fraction or below zero is none.
    fn seconds(&self, name: &'static str) -> Result<Option<u64>, TokenRefusal> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(TokenRefusal::Claim(name)),
        }
    }

    fn subject(&self) -> Result<Box<str>, TokenRefusal> {
        match (self.text("sub")?, &self.origin) {
            (Some(subject), _) => Ok(subject.into()),
            (None, Origin::Introspection) => Ok(self.text("client_id")?.ok_or(TokenRefusal::Claim("sub"))?.into()),
            (None, Origin::Signature { .. }) => Err(TokenRefusal::Claim("sub")),
        }
    }

    /// `client_id` ([RFC 9068 §2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)), with Keycloak also `azp`; never two.
    fn client(&self, profile: Profile) -> Result<Box<str>, TokenRefusal> {
        let party = if profile == Profile::Keycloak { self.text("azp")? } else { None };
        match (self.text("client_id")?, party) {
            (Some(client), Some(party)) if client != party => Err(TokenRefusal::Claim("azp")),
            (Some(client), _) | (None, Some(client)) => Ok(client.into()),
            (None, None) => Err(TokenRefusal::Claim("client_id")),
        }
    }

    /// A text that, if it is there, says something.
    fn text(&self, name: &'static str) -> Result<Option<&str>, TokenRefusal> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(TokenRefusal::Claim(name)),
        }
    }

    /// [RFC 9068 §2.2.3](https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3): one text, spaces between.
    fn scopes(&self) -> Result<Vec<Box<str>>, TokenRefusal> {
        match self.claims.get("scope") {
            None => Ok(Vec::new()),
            Some(Value::Text(text)) => sorted(text.split(' ').filter(|scope| !scope.is_empty()), "scope"),
            Some(_) => Err(TokenRefusal::Claim("scope")),
        }
    }

    fn roles(&self, paths: &[ClaimPath]) -> Result<Vec<Box<str>>, TokenRefusal> {
        let mut roles = Vec::new();
        for path in paths {
            let Some(found) = self.at(path) else { continue };
            let found = found.as_array().ok_or(TokenRefusal::Claim("roles"))?;
            for role in found {
                roles.push(role.as_str().ok_or(TokenRefusal::Claim("roles"))?);
            }
        }
        sorted(roles.into_iter(), "roles")
    }

    fn at(&self, path: &ClaimPath) -> Option<&Value<'a>> {
        let (first, rest) = path.names().split_first()?;
        rest.iter().try_fold(self.claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// [RFC 8693 §4.1](https://www.rfc-editor.org/rfc/rfc8693#section-4.1): the latest actor outside, the earlier ones within.
    fn actors(&self, limit: usize) -> Result<Vec<Box<str>>, TokenRefusal> {
        let mut actors = Vec::new();
        let mut next = self.claims.get("act");
        while let Some(actor) = next {
            if actors.len() == limit {
                return Err(TokenRefusal::Actors { limit });
            }
            let actor = actor.as_object().ok_or(TokenRefusal::Claim("act"))?;
            let name = actor.text("sub").filter(|name| !name.is_empty());
            actors.push(name.ok_or(TokenRefusal::Claim("act"))?.into());
            next = actor.get("act");
        }
        Ok(actors)
    }

    /// [RFC 8705 §3.1](https://www.rfc-editor.org/rfc/rfc8705#section-3.1). A token that is bound in a way that we cannot
    /// judge is not taken for one that is not bound.
    fn confirmation(&self) -> Result<Option<Thumbprint>, TokenRefusal> {
        let Some(cnf) = self.claims.get("cnf") else { return Ok(None) };
        let cnf = cnf.as_object().ok_or(TokenRefusal::Binding("cnf is not an object"))?;
        if let Some(other) = cnf.names().find(|name| *name != MEMBER) {
            return Err(TokenRefusal::Binding(match other {
                "jkt" => "it is bound to a key (cnf.jkt, DPoP), which this server does not verify",
                "x5t" => "cnf.x5t is of SHA-1; x5t#S256 is wanted",
                _ => "cnf has a member other than x5t#S256",
            }));
        }
        let text = cnf.text(MEMBER).ok_or(TokenRefusal::Binding("cnf holds no x5t#S256"))?;
        let thumbprint = Thumbprint::from_base64url(text).map_err(|_| TokenRefusal::Binding(diagnose(text)))?;
        Ok(Some(thumbprint))
    }
}

/// What went wrong where a thumbprint was written.
fn diagnose(text: &str) -> &'static str {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "x5t#S256 is in hex; RFC 8705 wants base64url"
    } else if text.ends_with('=') {
        "x5t#S256 has padding; RFC 8705 wants none"
    } else if text.contains(['+', '/']) {
        "x5t#S256 is in the standard alphabet; RFC 8705 wants base64url"
    } else {
        "x5t#S256 is not the base64url of 32 bytes"
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>, claim: &'static str) -> Result<Vec<Box<str>>, TokenRefusal> {
    let mut names: Vec<Box<str>> = names.map(Into::into).collect();
    if names.len() > MOST {
        return Err(TokenRefusal::Claim(claim));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

const MEMBER: &str = "x5t#S256";
/// Audiences, scopes or roles of one token.
const MOST: usize = 256;
