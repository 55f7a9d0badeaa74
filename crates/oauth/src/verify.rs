//! The server's side: from a header to a token that counts, one type for each step.
//!
//! `UnverifiedToken` → signed claims → valid claims → bound to the caller → [`VerifiedToken`].

mod cache;
mod claims;
mod introspect;
mod keys;
mod refusal;
mod rules;
mod signed;
mod source;
mod token;

use std::sync::Arc;

use countermark_identity::{AgentId, Clock, Thumbprint, UnixTime};
use countermark_mtls::VerifiedPeer;
use tokio_util::sync::CancellationToken;

use self::cache::{Cache, Key};
use self::claims::{SignedClaims, ValidClaims};
pub use self::introspect::Introspector;
use self::keys::Keyring;
pub use self::refusal::TokenRefusal;
pub use self::rules::{Binding, ClaimPath, ClaimPathError, IssuerRules, Profile};
pub use self::signed::{IssuerKeys, SignatureRefusal, SignedJwt, UnverifiedJwt};
pub use self::source::{FetchedKeys, KeyError, KeySource, KeysAt, PublishedKeys};
pub use self::token::{Principal, VerifiedToken};
use crate::bearer::UnverifiedToken;
use crate::jose::{Compact, JwsFault, Parts};

/// Verifies tokens of the configured issuers, and of no others.
#[derive(Debug)]
pub struct TokenVerifier {
    issuers: Vec<Issuer>,
    cache: Cache,
    clock: Arc<dyn Clock>,
}

/// An issuer with its keys, or with a way to ask it.
#[derive(Debug)]
struct Issuer {
    rules: IssuerRules,
    keys: Arc<Keyring>,
    introspector: Option<Arc<Introspector>>,
}

/// Claims that an issuer stands for, and that are good now.
struct Vouched<'a> {
    issuer: &'a Issuer,
    claims: ValidClaims,
    /// What the issuer's keys were.
    generation: u64,
    /// Until when its word holds where it was asked; until the token's end where it signed.
    until: Option<UnixTime>,
}

impl TokenVerifier {
    /// A verifier that knows no issuer yet, and so refuses every token.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { issuers: Vec::new(), cache: Cache::new(), clock }
    }

    /// Takes tokens of one more issuer.
    #[must_use]
    pub fn with_issuer(
        mut self,
        rules: IssuerRules,
        keys: Box<dyn KeySource>,
        introspector: Option<Introspector>,
    ) -> Self {
        let introspector = introspector.map(Arc::new);
        self.issuers.push(Issuer { rules, keys: Arc::new(Keyring::new(keys, Arc::clone(&self.clock))), introspector });
        self
    }

    /// The issuers whose tokens are taken.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerRules> {
        self.issuers.iter().map(|issuer| &issuer.rules)
    }

    /// Whether the keys of every issuer are known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.issuers.iter().all(|issuer| issuer.keys.now().is_some())
    }

    /// Fetches every issuer's keys now, and again every five minutes until `shutdown`.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let each = self.issuers.iter().map(|issuer| issuer.keys.follow(&issuer.rules.issuer));
        shutdown.run_until_cancelled(futures_util::future::join_all(each)).await;
    }

    /// Judges a token that came over the peer's connection.
    ///
    /// # Errors
    /// [`TokenRefusal`], with the one reason that decided.
    pub async fn verify(
        &self,
        token: &UnverifiedToken,
        peer: &VerifiedPeer,
    ) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        self.verify_for(token, *peer.leaf().thumbprint(), peer.agent()).await
    }

    pub(crate) async fn verify_for(
        &self,
        token: &UnverifiedToken,
        presented: Thumbprint,
        agent: &AgentId,
    ) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        let now = self.clock.now();
        let key = Key::new(token.expose(), presented);
        if let Some(known) = self.cache.get(&key, agent, now, |issuer| self.generation(issuer)) {
            return Ok(known);
        }
        let Vouched { issuer, claims, generation, until } = self.vouched(token.expose(), agent).await?;
        let token = Arc::new(claims.bind(&issuer.rules, presented, agent)?);
        let until = until.map_or_else(|| token.not_after(), |until| token.not_after().min(until));
        self.cache.put(key, agent, Arc::clone(&token), generation, until);
        Ok(token)
    }

    /// Claims that the issuer stands for: by its signature, by its answer, or by both.
    async fn vouched(&self, token: &str, agent: &AgentId) -> Result<Vouched<'_>, TokenRefusal> {
        let parts = match Parts::of(token) {
            Ok(parts) => parts,
            Err(fault) => return self.opaque(token, agent, fault).await,
        };
        let compact = parts.read()?;
        // Not believed: it only says whose keys to try.
        let named = compact.claims.text("iss").ok_or(TokenRefusal::Claim("iss"))?;
        let issuer = self.issuers.iter().find(|issuer| issuer.rules.issuer == named).ok_or(TokenRefusal::Issuer)?;
        let (claims, generation) = issuer.verify(compact).await?;
        let mut until = None;
        if let Some(introspector) = issuer.introspector.as_ref().filter(|introspector| introspector.always) {
            let answer = introspector.ask(token, agent).await;
            answer.said?;
            until = Some(answer.until);
        }
        // Whoever was asked may have taken a while.
        let claims = claims.validate(&issuer.rules, self.clock.now())?;
        Ok(Vouched { issuer, claims, generation, until })
    }

    /// A token that says nothing of itself, where exactly one issuer can be asked.
    async fn opaque(&self, token: &str, agent: &AgentId, fault: JwsFault) -> Result<Vouched<'_>, TokenRefusal> {
        let mut asked = self.issuers.iter().filter_map(|issuer| Some((issuer, issuer.introspector.as_ref()?)));
        let (Some((issuer, introspector)), None) = (asked.next(), asked.next()) else { return Err(fault.into()) };
        // A signed token that we refuse is not made good by anybody's word.
        if token.bytes().filter(|byte| *byte == b'.').count() >= 2 {
            return Err(fault.into());
        }
        let answer = introspector.ask(token, agent).await;
        let said = answer.said?;
        let claims = SignedClaims::introspected(said.claims()?).validate(&issuer.rules, self.clock.now())?;
        Ok(Vouched { issuer, claims, generation: issuer.generation(), until: Some(answer.until) })
    }

    fn generation(&self, name: &str) -> Option<u64> {
        self.issuers.iter().find(|issuer| issuer.rules.issuer == name).map(Issuer::generation)
    }
}

impl Issuer {
    fn generation(&self) -> u64 {
        self.keys.now().map_or(0, |keys| keys.generation)
    }

    async fn verify<'a>(&self, token: Compact<'a>) -> Result<(SignedClaims<'a>, u64), TokenRefusal> {
        let (signed, generation) = self.keys.verify(token).await.map_err(|refusal| match refusal {
            SignatureRefusal::Jws(fault) => fault.into(),
            SignatureRefusal::Unavailable => TokenRefusal::Unavailable("keys"),
        })?;
        Ok((SignedClaims::signed(signed), generation))
    }
}

#[cfg(test)]
mod tests;
