//! Asking an issuer what a token is. [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

use std::sync::Arc;
use std::time::Duration;

use countermark_identity::{Clock, Secret};
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::refusal::TokenRefusal;
use crate::client::{Asking, ClientAuthentication};
use crate::http::{FollowingHttp, HttpError};
use crate::jose::json;
use crate::metadata::{DiscoveryError, ServerMetadata};

/// How we ask an issuer about tokens.
#[derive(Debug)]
pub struct Introspector {
    http: Arc<FollowingHttp>,
    issuer: String,
    client: String,
    authentication: ClientAuthentication,
    clock: Arc<dyn Clock>,
    metadata: OnceCell<ServerMetadata>,
    /// How long an answer holds: how long a token outlives its revocation.
    pub(super) ttl: Duration,
    /// Asks about signed tokens, too, so that revoked ones are refused before they end.
    pub(super) always: bool,
}

impl Introspector {
    /// Asks `issuer` as its client `client`, which may well be the certificate alone.
    #[must_use]
    pub fn new(
        http: Arc<FollowingHttp>,
        issuer: impl Into<String>,
        client: impl Into<String>,
        authentication: ClientAuthentication,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (issuer, client) = (issuer.into(), client.into());
        let metadata = OnceCell::new();
        Self { http, issuer, client, authentication, clock, metadata, ttl: Duration::from_secs(10), always: false }
    }

    /// How long an answer holds; a revoked token passes for that long. Ten seconds by default.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Asks about signed tokens, too.
    #[must_use]
    pub const fn for_every_token(mut self) -> Self {
        self.always = true;
        self
    }

    /// What the issuer says of the token, if it calls it active.
    pub(super) async fn ask(&self, token: &str) -> Result<Map<String, Value>, TokenRefusal> {
        let unavailable = |error: DiscoveryError| {
            tracing::warn!(issuer = self.issuer, %error, "introspection failed");
            TokenRefusal::Unavailable("introspection")
        };
        let answer = self.exchange(token).await.map_err(unavailable)?;
        let claims = json::object(answer.expose(), 16);
        let claims = claims.ok_or(TokenRefusal::Unavailable("introspection"))?;
        match claims.get("active") {
            Some(Value::Bool(true)) => Ok(claims),
            Some(Value::Bool(false)) => Err(TokenRefusal::Inactive),
            _ => Err(TokenRefusal::Unavailable("introspection")),
        }
    }

    async fn exchange(&self, token: &str) -> Result<Secret<Vec<u8>>, DiscoveryError> {
        let (credential, http) = self.http.now()?;
        let metadata = self.metadata.get_or_try_init(|| ServerMetadata::discover(&http, &self.issuer)).await?;
        let endpoint = metadata.introspection_endpoint()?;
        let asking = Asking {
            issuer: &self.issuer,
            client: &self.client,
            authentication: &self.authentication,
            credential: &credential,
            http: &http,
            proofs: None,
            now: self.clock.now(),
        };
        let request = asking.form(endpoint, &[("token", Secret::new(token.to_owned()))])?;
        let answer = http.send(request, LARGEST).await?;
        if answer.status() != StatusCode::OK {
            let host = crate::http::host(endpoint);
            return Err(HttpError::Status { host, status: answer.status().as_u16() }.into());
        }
        Ok(Secret::new(answer.into_body().to_vec()))
    }
}

/// Bytes of an answer.
const LARGEST: usize = 64 * 1024;
