//! A token that counts.

use std::fmt;

use aws_lc_rs::digest;
use countermark_identity::{AgentId, Thumbprint, UnixTime};

use super::claims::ValidClaims;
use super::refusal::TokenRefusal;
use super::rules::IssuerRules;

/// A token that its issuer signed for us, that is good now, and that belongs to the caller's certificate and to the caller.
///
/// There is no other way to one than [`TokenVerifier::verify`](crate::TokenVerifier::verify).
#[derive(Eq, PartialEq)]
pub struct VerifiedToken {
    issuer: Box<str>,
    principal: Principal,
    claims: Claims,
}

/// An issuer's subject, as one value to compare: subjects of two issuers are never the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Principal([u8; 32]);

#[derive(Eq, PartialEq)]
struct Claims {
    subject: Box<str>,
    client: Box<str>,
    scopes: Vec<Box<str>>,
    roles: Vec<Box<str>>,
    actors: Vec<Box<str>>,
    not_after: UnixTime,
}

impl ValidClaims {
    /// Joins the claims with the caller: the certificate that was presented, and the agent that it names.
    pub(super) fn bind(
        self,
        rules: &IssuerRules,
        presented: Thumbprint,
        agent: &AgentId,
    ) -> Result<VerifiedToken, TokenRefusal> {
        if self.bound_to.is_some_and(|bound| bound != presented) {
            return Err(TokenRefusal::Mismatch);
        }
        if !rules.clients.get(&*self.client).is_some_and(|agents| agents.contains(agent)) {
            return Err(TokenRefusal::Agent { issuer: rules.issuer.clone(), client: self.client.into() });
        }
        let Self { subject, client, scopes, roles, actors, not_after, bound_to: _ } = self;
        let claims = Claims { subject, client, scopes, roles, actors, not_after };
        let principal = Principal::new(&rules.issuer, &claims.subject);
        Ok(VerifiedToken { issuer: rules.issuer.as_str().into(), principal, claims })
    }
}

impl Principal {
    fn new(issuer: &str, subject: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        // An issuer is a URL, so that nothing in it ends it early.
        for part in [issuer, "\0", subject] {
            hash.update(part.as_bytes());
        }
        let mut value = [0; 32];
        value.copy_from_slice(hash.finish().as_ref());
        Self(value)
    }
}

impl VerifiedToken {
    /// Who signed it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// On whose behalf it was issued; for a client's own token, the client in the issuer's words.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.subject
    }

    /// Issuer and subject in one.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.principal
    }

    /// The client that it was issued to.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.claims.client
    }

    /// Who acts for the subject, from the latest actor to the first; empty unless it was exchanged.
    #[must_use]
    pub fn actors(&self) -> &[Box<str>] {
        &self.claims.actors
    }

    /// What it permits, sorted.
    #[must_use]
    pub fn scopes(&self) -> &[Box<str>] {
        &self.claims.scopes
    }

    /// The roles at the configured places, sorted.
    #[must_use]
    pub fn roles(&self) -> &[Box<str>] {
        &self.claims.roles
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.claims.not_after
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issuer", &self.issuer)
            .field("client", &self.claims.client)
            .field("scopes", &self.claims.scopes)
            .field("not_after", &self.claims.not_after)
            .finish_non_exhaustive()
    }
}
