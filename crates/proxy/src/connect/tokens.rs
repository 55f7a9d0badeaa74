//! Requests that carry a token of the certificate that their connection presents.

mod discovery;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use countermark_identity::{Clock, TrustDomain};
use countermark_mtls::{Client, ClientBody, ClientConfig, ExpectedServer, TrustGeneration};
use countermark_oauth::{
    BoundClient, BoundClientConfig, BoundClientError, Challenge, Question, Registration, ResourceMetadata, Roots,
    TokenError,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::ConnectTokens;
use super::error::ConnectError;
use crate::guard::roots;
use crate::identity::Identity;

/// A client that gets tokens by itself, from the issuer that is configured or from the one that the server names.
///
/// An issuer that is configured is the only one, whatever the server says. One that the server named is kept for as long as the
/// server names it; once its tokens are of no use, the server is asked again.
#[derive(Debug)]
pub(super) struct TokenClient {
    config: ConnectTokens,
    parts: Parts,
    resource: String,
    roots: Roots,
    bound: ArcSwapOption<Bound>,
    /// Held while the server is asked for its issuers.
    asking: Mutex<Asked>,
}

/// When the server was last asked.
#[derive(Debug, Default)]
struct Asked {
    /// For its first issuer, in vain: what is said to everybody for a while.
    failed: Option<(Instant, Arc<TokenFailure>)>,
    /// For another one.
    moved: Option<Instant>,
}

/// The client of one issuer.
#[derive(Debug)]
struct Bound {
    issuer: String,
    client: BoundClient,
    /// The issuer did not know this client when it was turned to, nor did any other, and has not known it since.
    stranger: AtomicBool,
    _following: DropGuard,
}

/// What every request is made with.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) identity: Identity,
    pub(super) trust: watch::Receiver<Arc<TrustGeneration>>,
    pub(super) expected: ExpectedServer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: ClientConfig,
    /// Without a token: for what the server says of itself.
    pub(super) plain: Client,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFailure {
    #[error(transparent)]
    Bound(#[from] BoundClientError),
    /// What somebody else was told a moment ago.
    #[error(transparent)]
    Standing(Arc<Self>),
    #[error("the server does not say where its tokens come from: {0}; name the authorization server with --issuer")]
    Metadata(String),
}

impl From<TokenError> for TokenFailure {
    fn from(error: TokenError) -> Self {
        Self::Bound(error.into())
    }
}

impl TokenClient {
    pub(super) fn new(config: ConnectTokens, parts: Parts, uri: &Uri, own: &TrustDomain) -> Result<Self, ConnectError> {
        if config.issuer.is_none() && config.authentication.can_be_replayed() {
            return Err(ConnectError::Tokens(
                "name --issuer: a secret or a JWT-SVID is sent to nobody whom only the called server names".to_owned(),
            ));
        }
        let roots = roots(config.ca.as_deref(), &parts.identity, own).map_err(ConnectError::Tokens)?;
        let resource = config.resource.clone().unwrap_or_else(|| uri.to_string().trim_end_matches('/').to_owned());
        let this = Self { config, parts, resource, roots, bound: ArcSwapOption::empty(), asking: Mutex::default() };
        if let Some(issuer) = &this.config.issuer {
            let bound = this.bind(issuer, &this.resource, &this.config.scopes);
            this.bound.store(Some(Arc::new(bound.map_err(|error| ConnectError::Tokens(error.to_string()))?)));
        }
        Ok(this)
    }

    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, TokenFailure> {
        let Some(bound) = self.bound.load_full() else { return self.first(request).await };
        let answered = bound.client.request(request.clone()).await;
        let (challenge, still_unknown) = match &answered {
            Ok(refused) if refused.status() == StatusCode::UNAUTHORIZED => (Challenge::of(refused.headers()), false),
            Err(BoundClientError::Token(error)) => (None, is_unknown(error)),
            Ok(_) => {
                bound.is_known();
                return Ok(answered?);
            }
            Err(_) => return Ok(answered?),
        };
        let kept = !(still_unknown && bound.stranger.load(Ordering::Relaxed));
        match self.moved(&bound, request.uri(), challenge.unwrap_or_default(), kept).await {
            Some(newer) => Ok(newer.client.request(request).await?),
            None => Ok(answered?),
        }
    }

    /// Ends the tokens, if that was asked for; the process ends whether or not the server hears of it.
    pub(super) async fn end(&self) {
        if let Some(bound) = self.bound.load_full().filter(|_| self.config.revoke) {
            bound.end().await;
        }
    }

    /// Without a token, until the server asks for one.
    async fn first(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, TokenFailure> {
        let response = self.parts.plain.request(request.clone()).await.map_err(BoundClientError::from)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = Challenge::of(response.headers()).unwrap_or_default();
        let bound = self.bound_first(request.uri(), &challenge).await?;
        Ok(bound.client.request(request).await?)
    }

    /// The first issuer, asked for by one of all who need it; if there is none, not again in [`AGAIN`].
    async fn bound_first(&self, endpoint: &Uri, challenge: &Challenge) -> Result<Arc<Bound>, TokenFailure> {
        let mut asked = self.asking.lock().await;
        if let Some(bound) = self.bound.load_full() {
            return Ok(bound);
        }
        if let Some((_, failure)) = asked.failed.as_ref().filter(|(at, _)| at.elapsed() < AGAIN) {
            return Err(TokenFailure::Standing(Arc::clone(failure)));
        }
        let found = async { self.follow(self.discover(endpoint, challenge).await?, challenge).await };
        found.await.map_err(|failure| {
            let failure = Arc::new(failure);
            asked.failed = Some((Instant::now(), Arc::clone(&failure)));
            TokenFailure::Standing(failure)
        })
    }

    /// Another issuer than the one whose tokens are of no use, if the server names that one no longer, or if it did not know this
    /// client from the start and is not to be `kept` for being named. The server is asked once in [`AGAIN`]: one that refuses
    /// everything shall not be asked for each call.
    async fn moved(&self, old: &Arc<Bound>, endpoint: &Uri, challenge: Challenge, kept: bool) -> Option<Arc<Bound>> {
        if self.config.issuer.is_some() {
            return None;
        }
        let mut asked = self.asking.lock().await;
        let now = self.bound.load_full()?;
        if !Arc::ptr_eq(&now, old) {
            return Some(now);
        }
        if asked.moved.is_some_and(|at| at.elapsed() < AGAIN) {
            return None;
        }
        asked.moved = Some(Instant::now());
        let found = self.discover(endpoint, &challenge).await;
        let moved = match found {
            Ok(metadata) if kept && metadata.authorization_servers.contains(&old.issuer) => return None,
            Ok(metadata) => self.follow(metadata, &challenge).await,
            Err(error) => Err(error),
        };
        let newer = moved
            .inspect_err(|error| tracing::warn!(issuer = old.issuer, %error, "there is no other issuer to turn to"))
            .ok()?;
        if self.config.revoke {
            let old = Arc::clone(old);
            tokio::spawn(async move { old.end().await });
        }
        Some(newer)
    }

    async fn discover(&self, endpoint: &Uri, challenge: &Challenge) -> Result<ResourceMetadata, TokenFailure> {
        let named = challenge.resource_metadata.as_deref();
        let resource = (self.resource.as_str(), self.config.resource.is_none());
        discovery::metadata(&self.parts.plain, endpoint, named, resource).await
    }

    /// Binds to the first of the server's issuers that says where its endpoints are and knows this client; if none knows it, to the
    /// first that says so, whose refusal is what the caller is told.
    async fn follow(&self, metadata: ResourceMetadata, challenge: &Challenge) -> Result<Arc<Bound>, TokenFailure> {
        let mut failure = TokenFailure::Metadata("its metadata names no server".to_owned());
        let mut unknown_at = None;
        for issuer in metadata.authorization_servers.iter().take(MOST_ISSUERS) {
            match self.turn_to(issuer, &metadata, challenge).await {
                Ok(bound) if bound.stranger.load(Ordering::Relaxed) => unknown_at = unknown_at.or(Some(bound)),
                Ok(bound) => return Ok(self.keep(bound)),
                Err(error) => {
                    tracing::warn!(issuer, %error, "an issuer that the server names is of no use");
                    failure = error;
                }
            }
        }
        unknown_at.map(|bound| self.keep(bound)).ok_or(failure)
    }

    fn keep(&self, bound: Bound) -> Arc<Bound> {
        tracing::info!(issuer = bound.issuer, "the server names its authorization server");
        let bound = Arc::new(bound);
        self.bound.store(Some(Arc::clone(&bound)));
        bound
    }

    /// Asks with the scopes of the challenge, else with those that are configured, else with all that the server knows; if those
    /// are more than this client's, with none: whoever lacks some is told which. No other answer but that the client is unknown
    /// counts against an issuer.
    async fn turn_to(
        &self,
        issuer: &str,
        metadata: &ResourceMetadata,
        challenge: &Challenge,
    ) -> Result<Bound, TokenFailure> {
        let named = challenge.scope.as_deref().unwrap_or_default();
        let named: Vec<String> = named.split_whitespace().take(MOST_SCOPES).map(str::to_owned).collect();
        let supported = &metadata.scopes_supported;
        let scopes = match (&named[..], &self.config.scopes[..]) {
            ([], []) => supported.get(..MOST_SCOPES).unwrap_or(supported),
            ([], configured) => configured,
            (named, _) => named,
        };
        let mut bound = self.bind(issuer, &metadata.resource, scopes)?;
        let tokens = Arc::clone(bound.client.generation().tokens());
        tokens.metadata().await.map_err(TokenError::from)?;
        let all = named.is_empty() && self.config.scopes.is_empty() && !scopes.is_empty();
        match tokens.token(&question(&metadata.resource, scopes)).await {
            Err(error) if all && lacks_scope(&error) => return self.bind(issuer, &metadata.resource, &[]),
            Err(error) if is_unknown(&error) => {
                tracing::warn!(issuer, %error, "an issuer that the server names does not know this client");
                bound.stranger = AtomicBool::new(true);
            }
            _ => {}
        }
        Ok(bound)
    }

    fn bind(&self, issuer: &str, resource: &str, scopes: &[String]) -> Result<Bound, TokenFailure> {
        let mut registration = Registration::new(issuer, self.config.client.clone(), self.roots.clone());
        registration.authentication = self.config.authentication.clone();
        registration.dpop = self.config.dpop;
        registration.named = self.config.issuer.is_none();
        let config = BoundClientConfig {
            registration,
            question: question(resource, scopes),
            expected: self.parts.expected.clone(),
            client: self.parts.settings.clone(),
        };
        let (credential, trust) = (self.parts.identity.watch_credential(), self.parts.trust.clone());
        let client = BoundClient::new(credential, trust, Arc::clone(&self.parts.clock), config)?;
        let over = CancellationToken::new();
        tokio::spawn(client.clone().follow(over.clone()));
        Ok(Bound { issuer: issuer.to_owned(), client, stranger: AtomicBool::new(false), _following: over.drop_guard() })
    }
}

impl Bound {
    /// Takes note of an answer to a request: there was a token for it.
    fn is_known(&self) {
        if self.stranger.load(Ordering::Relaxed) {
            self.stranger.store(false, Ordering::Relaxed);
        }
    }

    async fn end(&self) {
        if let Err(error) = self.client.revoke_all().await {
            tracing::warn!(%error, "the tokens could not be revoked; they end by themselves");
        }
    }
}

fn question(resource: &str, scopes: &[String]) -> Question {
    Question::of(resource).with_scopes(scopes.iter().cloned())
}

fn lacks_scope(error: &TokenError) -> bool {
    matches!(error, TokenError::Refused { code, .. } if code == "invalid_scope")
}

/// Not registered, or not for this.
fn is_unknown(error: &TokenError) -> bool {
    matches!(error, TokenError::Refused { code, .. } if code == "invalid_client" || code == "unauthorized_client")
}

/// How long a server is not asked again which issuers it takes.
const AGAIN: Duration = Duration::from_secs(10);
/// Issuers of one server that are tried.
const MOST_ISSUERS: usize = 4;
/// Scopes that are asked for because a server names them.
const MOST_SCOPES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_may_not_ask_is_as_unknown_as_one_that_is_not_registered() {
        let refused = |code: &str| TokenError::Refused { issuer: String::new(), code: code.to_owned(), remedy: "" };
        for (code, unknown) in [
            ("invalid_client", true),
            ("unauthorized_client", true),
            ("invalid_scope", false),
            ("invalid_target", false),
            ("unsupported_grant_type", false),
        ] {
            assert_eq!(is_unknown(&refused(code)), unknown, "{code}");
        }
    }
}
