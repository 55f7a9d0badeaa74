//! Requests that carry a token of the certificate that their connection presents.

use std::sync::Arc;

use bytes::Bytes;
use countermark_identity::{Clock, TrustDomain};
use countermark_mtls::{Client, ClientBody, ClientConfig, ExpectedServer, TrustGeneration};
use countermark_oauth::{
    BoundClient, BoundClientConfig, BoundClientError, Challenge, Question, Registration, ResourceMetadata, Roots,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::config::ConnectTokens;
use super::error::ConnectError;
use crate::guard::roots;
use crate::identity::Identity;

/// A client that gets tokens by itself, from the issuer that is configured or from the one that the server names.
#[derive(Debug)]
pub(super) struct TokenClient {
    config: ConnectTokens,
    parts: Parts,
    resource: String,
    roots: Roots,
    bound: OnceCell<(BoundClient, DropGuard)>,
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
    #[error("the server does not say where its tokens come from: {0}; name the authorization server with --issuer")]
    Metadata(String),
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
        let this = Self { config, parts, resource, roots, bound: OnceCell::new() };
        if let Some(issuer) = &this.config.issuer {
            let bound =
                this.bind(issuer, &this.resource, &[]).map_err(|error| ConnectError::Tokens(error.to_string()))?;
            // Nobody else has it yet.
            let _ = this.bound.set(bound);
        }
        Ok(this)
    }

    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, TokenFailure> {
        if let Some((bound, _)) = self.bound.get() {
            return Ok(bound.request(request).await?);
        }
        let response = self.parts.plain.request(request.clone()).await.map_err(BoundClientError::from)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = Challenge::of(response.headers()).unwrap_or_default();
        let (bound, _) = self.bound.get_or_try_init(|| self.discover(request.uri(), challenge)).await?;
        Ok(bound.request(request).await?)
    }

    /// Ends the tokens, if that was asked for; the process ends whether or not the server hears of it.
    pub(super) async fn end(&self) {
        let Some((bound, _)) = self.bound.get().filter(|_| self.config.revoke) else { return };
        if let Err(error) = bound.generation().tokens().revoke_all().await {
            tracing::warn!(%error, "the tokens could not be revoked; they end by themselves");
        }
    }

    /// From the server's challenge to its authorization server ([RFC 9728 §5](https://www.rfc-editor.org/rfc/rfc9728#section-5)).
    async fn discover(&self, endpoint: &Uri, challenge: Challenge) -> Result<(BoundClient, DropGuard), TokenFailure> {
        let wrong = |cause: &str| TokenFailure::Metadata(cause.to_owned());
        let named = challenge.resource_metadata.as_deref();
        let mut places = places(&self.resource, endpoint, named, self.config.resource.is_none())?.into_iter();
        let (response, resource) = loop {
            let (place, resource) =
                places.next().ok_or_else(|| wrong("it has no metadata at the well-known places"))?;
            let mut request = Request::new(Full::default());
            *request.uri_mut() = place;
            let response = self.parts.plain.request(request).await.map_err(BoundClientError::from)?;
            if response.status() == StatusCode::OK || named.is_some() {
                break (response, resource);
            }
        };
        if response.status() != StatusCode::OK {
            return Err(TokenFailure::Metadata(format!("its metadata answers {}", response.status())));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| wrong("its metadata breaks off, or is too long"))?.to_bytes();
        let metadata = ResourceMetadata::read(&body, &resource);
        let metadata = metadata.map_err(|error| TokenFailure::Metadata(error.to_string()))?;
        let issuer = metadata.authorization_servers.first().ok_or_else(|| wrong("its metadata names no server"))?;
        tracing::info!(issuer, "the server names its authorization server");
        let scopes: Vec<&str> = challenge.scope.as_deref().unwrap_or_default().split_whitespace().collect();
        self.bind(issuer, &resource, &scopes)
    }

    fn bind(&self, issuer: &str, resource: &str, scopes: &[&str]) -> Result<(BoundClient, DropGuard), TokenFailure> {
        let mut registration = Registration::new(issuer, self.config.client.clone(), self.roots.clone());
        registration.authentication = self.config.authentication.clone();
        registration.dpop = self.config.dpop;
        let question = Question::of(resource).with_scopes(self.config.scopes.clone());
        let config = BoundClientConfig {
            registration,
            question: question.with_scopes(scopes.iter().copied()),
            expected: self.parts.expected.clone(),
            client: self.parts.settings.clone(),
        };
        let (credential, trust) = (self.parts.identity.watch_credential(), self.parts.trust.clone());
        let bound = BoundClient::new(credential, trust, Arc::clone(&self.parts.clock), config);
        let bound = bound.map_err(BoundClientError::from)?;
        let over = CancellationToken::new();
        tokio::spawn(bound.clone().follow(over.clone()));
        Ok((bound, over.drop_guard()))
    }
}

/// Where a server's metadata is looked for, and what it must then be of: where its challenge says, else at the well-known
/// place of the resource ([RFC 9728 §3.1](https://www.rfc-editor.org/rfc/rfc9728#section-3.1)) and, where `host` may stand for
/// it, at that of the whole host.
fn places(resource: &str, endpoint: &Uri, named: Option<&str>, host: bool) -> Result<Vec<(Uri, String)>, TokenFailure> {
    let wrong = |cause: &str| TokenFailure::Metadata(cause.to_owned());
    if let Some(named) = named {
        let url: Uri = named.parse().map_err(|_| wrong("its resource_metadata is no URL"))?;
        if url.scheme() != endpoint.scheme() || url.authority() != endpoint.authority() {
            return Err(wrong("its resource_metadata is of another host, which nobody has verified"));
        }
        return Ok(vec![(url, resource.to_owned())]);
    }
    let mut url = Url::parse(resource).map_err(|_| wrong("the resource is no URL"))?;
    let mut found = vec![(at(endpoint, &url)?, resource.to_owned())];
    url.set_path("");
    if host {
        found.push((at(endpoint, &url)?, url.as_str().trim_end_matches('/').to_owned()));
    }
    found.dedup();
    Ok(found)
}

/// The well-known place of a resource, at the endpoint that was verified.
fn at(endpoint: &Uri, resource: &Url) -> Result<Uri, TokenFailure> {
    let wrong = |_: &dyn std::error::Error| TokenFailure::Metadata("its path cannot be asked for".to_owned());
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(ResourceMetadata::path(resource).parse().map_err(|error| wrong(&error))?);
    Uri::from_parts(parts).map_err(|error| wrong(&error))
}

/// Bytes of a resource's metadata.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_server_says_or_at_the_well_known_places() {
        let endpoint: Uri = "https://ledger.test:8443/mcp".parse().unwrap();
        let found = |resource: &str, named, host| {
            let places = places(resource, &endpoint, named, host).ok()?;
            Some(places.iter().map(|(place, of)| format!("{place} {of}")).collect::<Vec<_>>())
        };
        let (resource, host) = ("https://ledger.test/mcp", "https://ledger.test");
        let known = "https://ledger.test:8443/.well-known/oauth-protected-resource";
        let (own, root) = (format!("{known}/mcp {resource}"), format!("{known} {host}"));
        assert_eq!(found(resource, None, true).unwrap(), [own.clone(), root.clone()]);
        assert_eq!(found(resource, None, false).unwrap(), [own]);
        assert_eq!(found(host, None, true).unwrap(), [root]);
        let other = "https://ledger.test:8443/other";
        assert_eq!(found(resource, Some(other), true).unwrap(), [format!("{other} {resource}")]);
        for elsewhere in
            ["https://ledger.test/other", "http://ledger.test:8443/other", "https://evil.test:8443/other", "/other"]
        {
            assert_eq!(found(resource, Some(elsewhere), true), None, "{elsewhere}");
        }
    }
}
