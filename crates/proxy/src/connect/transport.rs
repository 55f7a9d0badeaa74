//! Requests to the one server, over mTLS, with reasons that a person can act on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countermark_identity::{Clock, Role, SpiffeId};
use countermark_mtls::{Client, ClientBody, ClientConfig, ClientError, ExpectedServer, TrustGenerations};
use countermark_oauth::causes;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use tokio::sync::watch;

use super::config::{ConnectConfig, ConnectLimits};
use super::error::ConnectError;
use super::tokens::{Parts, TokenClient, TokenFailure};
use crate::identity::{Identity, Sources};

/// The way to one server.
#[derive(Debug)]
pub(crate) struct Transport {
    way: Way,
    uri: Uri,
    pub(crate) limits: ConnectLimits,
    /// Followed for as long as requests are sent.
    _identity: Identity,
}

/// What is presented to the server.
#[derive(Debug)]
enum Way {
    /// The certificate.
    Certificate(Client),
    /// The certificate, and a token that is bound to it.
    Token(Box<TokenClient>),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{} cannot be reached as this agent: {}", uri, causes(source))]
    Client { uri: Uri, source: ClientError },
    #[error("{} cannot be called as this agent: {}", uri, causes(source))]
    Token { uri: Uri, source: TokenFailure },
    #[error("{uri} did not answer within {patience:?}")]
    Slow { uri: Uri, patience: Duration },
}

impl Transport {
    pub(crate) async fn open(config: ConnectConfig, clock: Arc<dyn Clock>) -> Result<Self, ConnectError> {
        let uri = endpoint(&config.url)?;
        let unusable = |message| ConnectError::Identity { path: config.identity.clone(), message };
        let own = Identity::own(&config.identity, clock.now()).map_err(unusable)?;
        let expected = expected(config.server.as_deref(), &own)?;
        let map = Arc::new(countermark_identity::SanMap::empty(own.trust_domain().clone()));
        let identity = Identity::watch(Sources {
            directory: config.identity.clone(),
            crl: config.crl.clone(),
            state: config.state.clone(),
            policy: None,
            clock: Arc::clone(&clock),
        })
        .await
        .map_err(unusable)?;
        let trust = TrustGenerations::join(identity.trust(), watch::Sender::new(map).subscribe()).watch();
        let settings = ClientConfig {
            connect_timeout: config.limits.connect,
            handshake_timeout: config.limits.connect,
            ..ClientConfig::default()
        };
        let plain = Client::new(
            identity.watch_credential(),
            trust.clone(),
            expected.clone(),
            Arc::clone(&clock),
            settings.clone(),
        )
        .map_err(|error| ConnectError::Tls(error.to_string()))?;
        let way = match config.tokens {
            None => Way::Certificate(plain),
            Some(tokens) => {
                let parts = Parts { identity: identity.clone(), trust, expected, clock, settings, plain };
                Way::Token(Box::new(TokenClient::new(tokens, parts, &uri, own.trust_domain())?))
            }
        };
        Ok(Self { way, uri, limits: config.limits, _identity: identity })
    }

    /// Says goodbye where that was asked for.
    pub(crate) async fn end(&self) {
        if let Way::Token(client) = &self.way {
            client.end().await;
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Sends a request and waits for its response's headers.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<ClientBody>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let uri = || self.uri.clone();
        let answer = async {
            match &self.way {
                Way::Certificate(client) => {
                    client.request(request).await.map_err(|source| Failure::Client { uri: uri(), source })
                }
                Way::Token(client) => {
                    client.request(request).await.map_err(|source| Failure::Token { uri: uri(), source })
                }
            }
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Slow { uri: uri(), patience }),
        }
    }
}

fn endpoint(url: &str) -> Result<Uri, ConnectError> {
    let wrong = |message| ConnectError::Url { url: url.to_owned(), message };
    let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(wrong("only https:// is spoken"));
    }
    if uri.host().is_none_or(str::is_empty) || uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong("it names no host, or a user"));
    }
    Ok(uri)
}

/// Which server must answer: by name in the agent's own trust domain, by its full id, or by the URL's host.
fn expected(server: Option<&str>, own: &SpiffeId) -> Result<ExpectedServer, ConnectError> {
    let Some(server) = server else { return Ok(ExpectedServer::Host) };
    let wrong = |message: String| ConnectError::Server { server: server.to_owned(), message };
    if server.contains("://") {
        let id: SpiffeId = server.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(id.role(), Some((Role::Server, _))) {
            return Err(wrong("it is not /server/<name>".to_owned()));
        }
        return Ok(ExpectedServer::Id(id));
    }
    SpiffeId::new(own.trust_domain(), Role::Server, server).map_err(|error| wrong(error.to_string()))?;
    Ok(ExpectedServer::Name(server.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_host_is_taken() {
        assert!(endpoint("https://ledger.internal:8443/mcp").is_ok());
        for url in ["http://ledger.internal/mcp", "ledger.internal", "https://a:b@ledger.internal/mcp", "https:///mcp"]
        {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_server_is_a_name_a_full_id_or_the_host() {
        let own: SpiffeId = "spiffe://agents.internal/agent/billing-bot".parse().unwrap();
        assert_eq!(expected(None, &own).unwrap(), ExpectedServer::Host);
        assert_eq!(expected(Some("ledger"), &own).unwrap(), ExpectedServer::Name("ledger".to_owned()));
        assert!(matches!(expected(Some("spiffe://other/server/ledger"), &own), Ok(ExpectedServer::Id(_))));
        assert!(expected(Some("spiffe://other/agent/ledger"), &own).is_err());
        assert!(expected(Some("led ger"), &own).is_err());
    }
}
