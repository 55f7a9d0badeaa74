//! What guard wants of access tokens: from a file or flags to rules.

mod document;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Credential;
use countermark_identity::{AgentId, Clock, SpiffeId, TrustDomain};
use countermark_mcp::{TokenRules, Tokens};
use countermark_oauth::{
    Binding, ClaimPath, ClientAuthentication, FollowingHttp, Generations, Introspector, IssuerRules, Profile,
    PublishedKeys, Question, Registration, Roots, TokenError, TokenVerifier,
};
use tokio_util::sync::CancellationToken;

use super::error::GuardError;
use crate::identity::Identity;
use crate::upstream::exchange::Exchange;
use crate::upstream::http::Http;

/// What guard wants of access tokens.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct TokensConfig {
    /// Whether there must be one.
    pub mode: TokenMode,
    /// What tokens must name as their audience; without one, guard's own URL.
    pub audience: Option<String>,
    /// Whose tokens are taken.
    pub issuers: Vec<TokenIssuer>,
    /// How they become tokens for the server behind, if they do.
    pub upstream: Option<UpstreamTokens>,
}

/// How a caller's token is exchanged for one that the server behind takes (RFC 8693).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct UpstreamTokens {
    /// The authorization server.
    pub issuer: String,
    /// The CA of its certificate; without one, the roots of guard's trust domain.
    pub ca: Option<PathBuf>,
    /// Guard's client id there.
    pub client: String,
    /// How guard proves who it is.
    pub authentication: ClientAuthentication,
    /// What the token is for: the server behind.
    pub resource: String,
    /// With which scopes.
    pub scopes: Vec<String>,
}

/// Whether a request must have a token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one of these")]
pub enum TokenMode {
    /// Tokens are neither looked at nor passed on.
    #[default]
    Ignored,
    /// A request with a token is refused.
    Forbidden,
    /// Grants with scopes or roles need one, others do not.
    Optional,
    /// Every request needs one.
    Required,
}

/// One issuer of tokens.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct TokenIssuer {
    /// The issuer, to the letter.
    pub issuer: String,
    /// The CA of its own certificate; without one, the roots of guard's trust domain.
    pub ca: Option<PathBuf>,
    /// How its tokens look.
    pub profile: Profile,
    /// Where roles stand in them; nothing for the profile's places.
    pub roles: Vec<ClaimPath>,
    /// Which client may be which agent: a name of guard's trust domain, or a full SPIFFE ID.
    pub clients: Vec<(String, String)>,
    /// What binds its tokens.
    pub binding: Binding,
    /// How far its clock may be ahead.
    pub leeway: Duration,
    /// How many actors a token may name.
    pub actors: usize,
    /// How it is asked about tokens, if it is.
    pub introspection: Option<Introspection>,
}

impl TokenIssuer {
    /// The safe defaults for everything but the issuer itself. Without clients it lets nobody in.
    #[must_use]
    pub fn new(issuer: impl Into<String>) -> Self {
        let rules = IssuerRules::new(issuer, "");
        Self {
            issuer: rules.issuer,
            ca: None,
            profile: rules.profile,
            roles: Vec::new(),
            clients: Vec::new(),
            binding: rules.binding,
            leeway: rules.leeway,
            actors: rules.actors,
            introspection: None,
        }
    }
}

/// How an issuer is asked about tokens.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it field by field")]
pub struct Introspection {
    /// Guard's client id there.
    pub client: String,
    /// How guard proves who it is.
    pub authentication: ClientAuthentication,
    /// Asks about signed tokens, too.
    pub every_token: bool,
    /// How long an answer holds.
    pub cache: Duration,
}

impl TokensConfig {
    /// Reads a `tokens.toml`; files that it names are relative to it.
    ///
    /// # Errors
    /// Names the file, the line, the cause and the remedy.
    pub fn read(path: &Path) -> Result<Self, GuardError> {
        document::read(path).map_err(GuardError::Tokens)
    }

    /// The rules, for a guard that serves at `url`.
    pub(super) fn prepare(
        &self,
        identity: &Identity,
        own: &TrustDomain,
        url: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Tokens, GuardError> {
        let rules = |config: &Self| config.rules(identity, own, url, clock).map_err(GuardError::Tokens);
        match self.mode {
            TokenMode::Ignored => Ok(Tokens::Ignored),
            TokenMode::Forbidden => Ok(Tokens::Forbidden),
            TokenMode::Optional => rules(self).map(Tokens::Optional),
            TokenMode::Required => rules(self).map(Tokens::Required),
        }
    }

    /// How tokens for the server behind are had, if they are.
    pub(super) fn upstream(&self) -> Result<Option<&UpstreamTokens>, GuardError> {
        if self.upstream.is_some() && !matches!(self.mode, TokenMode::Optional | TokenMode::Required) {
            let message = "tokens can be exchanged only where they are taken; write tokens = \"required\"";
            return Err(GuardError::Tokens(message.to_owned()));
        }
        Ok(self.upstream.as_ref())
    }

    fn rules(
        &self,
        identity: &Identity,
        own: &TrustDomain,
        url: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<TokenRules, String> {
        let resource = self.audience.as_deref().unwrap_or(url);
        let parsed = url::Url::parse(resource).ok().filter(|url| url.scheme() == "https" && url.fragment().is_none());
        let parsed = parsed
            .ok_or_else(|| format!("the audience {resource} is no https:// URL; write the one that agents call"))?;
        if self.issuers.is_empty() {
            return Err("tokens are wanted and no issuer is named; add --issuer URL or an [[issuer]]".to_owned());
        }
        let mut verifier = TokenVerifier::new(Arc::clone(clock));
        for issuer in &self.issuers {
            let audience = parsed.as_str().trim_end_matches('/');
            let http = Arc::new(issuer.http(identity, own)?);
            let keys = Box::new(PublishedKeys::new(Arc::clone(&http), issuer.issuer.clone()));
            let asks =
                issuer.introspection.as_ref().map(|introspection| introspection.prepare(&issuer.issuer, http, clock));
            verifier = verifier.with_issuer(issuer.rules(audience, own)?, keys, asks);
        }
        let rules = TokenRules::new(Arc::new(verifier), &parsed);
        Ok(if self.upstream.is_some() { rules.keeping_subject_tokens() } else { rules })
    }
}

impl UpstreamTokens {
    /// `build` makes what carries requests under one credential.
    pub(super) fn prepare(
        &self,
        identity: &Identity,
        own: &TrustDomain,
        clock: &Arc<dyn Clock>,
        build: impl Fn(&Arc<Credential>) -> Result<Http, TokenError> + Send + Sync + 'static,
    ) -> Result<Exchange, String> {
        let roots = roots(self.ca.as_deref(), identity, own)?;
        let mut registration = Registration::new(self.issuer.clone(), self.client.clone(), roots);
        registration.authentication = self.authentication.clone();
        let question = Question::of(self.resource.clone()).with_scopes(self.scopes.clone());
        let (credential, clock) = (identity.watch_credential(), Arc::clone(clock));
        let generations = Generations::keeping_earlier(credential, registration, clock, build);
        let generations = generations.map_err(|error| format!("{}: {error}", self.issuer))?;
        // Ends with the process: the credential is followed for as long as guard serves.
        tokio::spawn(Arc::clone(&generations).follow(CancellationToken::new()));
        Ok(Exchange::new(generations, question))
    }
}

impl TokenIssuer {
    fn http(&self, identity: &Identity, own: &TrustDomain) -> Result<FollowingHttp, String> {
        let roots = roots(self.ca.as_deref(), identity, own)?;
        FollowingHttp::new(identity.watch_credential(), roots).map_err(|error| format!("{}: {error}", self.issuer))
    }

    fn rules(&self, audience: &str, own: &TrustDomain) -> Result<IssuerRules, String> {
        let mut rules = IssuerRules::new(self.issuer.clone(), audience);
        rules.profile = self.profile;
        rules.roles = if self.roles.is_empty() { self.profile.roles() } else { self.roles.clone() };
        rules.binding = self.binding;
        rules.leeway = self.leeway;
        rules.actors = self.actors;
        if self.clients.is_empty() {
            return Err(format!(
                "no client of {} may be any agent; add --client CLIENT_ID=AGENT or a [[client]]",
                self.issuer
            ));
        }
        for (client, agent) in &self.clients {
            rules.clients.entry(client.clone()).or_default().push(agent_of(agent, own)?);
        }
        Ok(rules)
    }
}

impl Introspection {
    fn prepare(&self, issuer: &str, http: Arc<FollowingHttp>, clock: &Arc<dyn Clock>) -> Introspector {
        let (client, authentication) = (self.client.clone(), self.authentication.clone());
        let introspector =
            Introspector::new(http, issuer, client, authentication, Arc::clone(clock)).with_ttl(self.cache);
        if self.every_token { introspector.for_every_token() } else { introspector }
    }
}

/// The roots of a file, or those of the own trust domain, whichever they are at the time.
pub(crate) fn roots(file: Option<&Path>, identity: &Identity, own: &TrustDomain) -> Result<Roots, String> {
    let Some(file) = file else {
        let (trust, own) = (identity.trust(), own.clone());
        return Ok(Roots::following(move || {
            trust.borrow().bundle(&own).map(|bundle| bundle.roots().to_vec()).unwrap_or_default()
        }));
    };
    let cannot = |cause: String| format!("the CA file {} cannot be used: {cause}", file.display());
    let text = std::fs::read(file).map_err(|error| cannot(error.to_string()))?;
    let bundle =
        countermark_credential::Bundle::from_pem(own.clone(), &text).map_err(|error| cannot(error.to_string()))?;
    Ok(bundle.roots().to_vec().into())
}

fn agent_of(text: &str, own: &TrustDomain) -> Result<AgentId, String> {
    let wrong = |cause: String| {
        format!("the agent `{text}` of a client is none: {cause}; write its name or its full SPIFFE ID")
    };
    if !text.starts_with("spiffe://") {
        return AgentId::new(own, text).map_err(|error| wrong(error.to_string()));
    }
    let id: SpiffeId = text.parse().map_err(|error: countermark_identity::SpiffeIdError| wrong(error.to_string()))?;
    AgentId::try_from(id).map_err(|error| wrong(error.to_string()))
}
