//! What a server wants of access tokens.

use std::sync::Arc;

use countermark_mtls::VerifiedPeer;
use countermark_oauth::{Challenge, ResourceMetadata, TokenRefusal, TokenVerifier, UnverifiedToken, VerifiedToken};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::refusal::{Refusal, code};

/// What a server wants of access tokens, beside the certificate that every caller presents.
///
/// Whatever is said here: a token never goes on to the server behind.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "a new mode must break every match that decides")]
pub enum Tokens {
    /// Certificates alone decide; a token is neither looked at nor passed on. Grants with `scopes` or `roles` permit nothing.
    #[default]
    Ignored,
    /// A request with a token is refused.
    Forbidden,
    /// A token is verified if there is one; grants with `scopes` or `roles` need one.
    Optional(TokenRules),
    /// Every request needs one.
    Required(TokenRules),
}

/// How tokens are judged, and what is said about them.
#[derive(Clone, Debug)]
pub struct TokenRules {
    verifier: Arc<TokenVerifier>,
    resource: Arc<str>,
    /// Path and URL of the resource's metadata.
    metadata: (Arc<str>, Arc<str>),
    keeps: bool,
}

impl TokenRules {
    /// Tokens for `resource`, the URL of the MCP endpoint, as `verifier` judges them.
    #[must_use]
    pub fn new(verifier: Arc<TokenVerifier>, resource: &url::Url) -> Self {
        let path = ResourceMetadata::path(resource);
        let mut url = resource.clone();
        url.set_path(&path);
        let resource = resource.as_str().trim_end_matches('/').into();
        Self { verifier, resource, metadata: (path.into(), url.as_str().into()), keeps: false }
    }

    /// Hands the token itself to what stands behind the layer ([`Caller::subject_token`](crate::Caller::subject_token)), which may
    /// exchange it for another one. It still never stands in a header there.
    #[must_use]
    pub fn keeping_subject_tokens(self) -> Self {
        Self { keeps: true, ..self }
    }

    /// Who judges.
    #[must_use]
    pub fn verifier(&self) -> &Arc<TokenVerifier> {
        &self.verifier
    }

    /// What the resource says of itself ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)).
    pub(crate) fn metadata(&self, scopes: &[&str]) -> ResourceMetadata {
        ResourceMetadata {
            resource: self.resource.as_ref().to_owned(),
            authorization_servers: self.verifier.issuers().map(|rules| rules.issuer.clone()).collect(),
            scopes_supported: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            bearer_methods_supported: vec!["header".to_owned()],
            tls_client_certificate_bound_access_tokens: true,
        }
    }

    fn challenge(&self, error: Option<&str>, description: Option<String>, scope: Option<String>) -> Box<Challenge> {
        let resource_metadata = Some(self.metadata.1.as_ref().to_owned());
        Box::new(Challenge { error: error.map(str::to_owned), description, scope, resource_metadata })
    }

    async fn verify(&self, headers: &HeaderMap, peer: &VerifiedPeer) -> Result<Option<Shown>, TokenRefusal> {
        let Some(subject) = UnverifiedToken::of(headers)? else { return Ok(None) };
        let verified = self.verifier.verify(&subject, peer).await?;
        Ok(Some(Shown { verified, subject: self.keeps.then(|| Arc::new(subject)) }))
    }

    fn refuse(&self, why: &TokenRefusal) -> Refusal {
        if why.is_unavailable() {
            return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code::INTERNAL_ERROR, why.to_string());
        }
        let (error, description) = (why.code(), why.code().map(|_| why.to_string()));
        let status = if error == Some("invalid_request") { StatusCode::BAD_REQUEST } else { StatusCode::UNAUTHORIZED };
        let mut refusal = Refusal::new(status, code::INVALID_REQUEST, "the access token is missing or not accepted");
        refusal.challenge = Some(self.challenge(error, description, None));
        refusal
    }
}

/// The token of a request.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) verified: Arc<VerifiedToken>,
    /// As it came, where it is to be exchanged.
    pub(crate) subject: Option<Arc<UnverifiedToken>>,
}

impl Tokens {
    /// The path of the resource's metadata, where there is any.
    #[must_use]
    pub fn metadata_path(&self) -> Option<&str> {
        self.rules().map(|rules| rules.metadata.0.as_ref())
    }

    /// How tokens are judged, where they are taken.
    #[must_use]
    pub fn rules(&self) -> Option<&TokenRules> {
        match self {
            Self::Ignored | Self::Forbidden => None,
            Self::Optional(rules) | Self::Required(rules) => Some(rules),
        }
    }

    /// The request's token, if it has one, or the answer to a request that lacks or has what it should not.
    pub(crate) async fn judge(
        &self,
        headers: &HeaderMap,
        peer: &VerifiedPeer,
    ) -> Result<Option<Shown>, (Refusal, TokenRefusal)> {
        match self {
            Self::Ignored => Ok(None),
            Self::Forbidden if headers.contains_key(AUTHORIZATION) => {
                let why = TokenRefusal::Unwanted;
                Err((Refusal::invalid(why.to_string()), why))
            }
            Self::Forbidden => Ok(None),
            Self::Optional(rules) => rules.verify(headers, peer).await.map_err(|why| (rules.refuse(&why), why)),
            Self::Required(rules) => {
                let token = rules.verify(headers, peer).await;
                let token = token.and_then(|token| token.ok_or(TokenRefusal::Missing));
                token.map(Some).map_err(|why| (rules.refuse(&why), why))
            }
        }
    }

    /// What to say to somebody whose token lacks scopes, or who shows none: all that are needed, at once.
    pub(crate) fn lack(&self, scopes: &[Box<str>], shown: bool) -> Option<(StatusCode, Box<Challenge>)> {
        let rules = self.rules()?;
        let (status, error) = match shown {
            true => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
            false => (StatusCode::UNAUTHORIZED, None),
        };
        Some((status, rules.challenge(error, None, Some(scopes.join(" ")))))
    }
}
