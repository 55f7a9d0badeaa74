//! The client side: a pool of mutual TLS connections to servers that were asked for by name.

mod anonymous;
mod body;
mod connector;
mod error;
mod host;
mod long_poll;
mod once;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use countermark_credential::Credential;
use countermark_identity::{Clock, TrustDomain};
use http::uri::Scheme;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::Instrument as _;

pub use self::anonymous::{AnonymousClient, danger_fetch_unverified, danger_served_certificate};
pub use self::body::ClientBody;
use self::connector::Connector;
pub use self::connector::ServerStream;
pub use self::error::ClientError;
pub use self::host::{HostClient, HostClientError};
pub use self::long_poll::{LongPoll, LongPollError};
use crate::config::{TlsClock, alpn, presented, versions};
use crate::demand::ExpectedServer;
use crate::registry::Registry;
use crate::verifier::ServerVerifier;
use crate::{HandshakeError, TrustGeneration, UnusableCredential, VerifiedServer, trace};

/// What a client may be told beyond whom it expects.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct ClientConfig {
    /// How long a TCP connection may take.
    pub connect_timeout: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Offers HTTP/2 by ALPN, before HTTP/1.1.
    pub http2: bool,
    /// How many idle connections to one host are kept.
    pub pool_max_idle: usize,
    /// How long an idle connection is kept; less than a server's own patience.
    pub pool_idle_timeout: Duration,
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Speaks TLS 1.2, too.
    pub tls12: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            http2: true,
            pool_max_idle: 32,
            pool_idle_timeout: Duration::from_secs(50),
            provider: crate::provider(),
            tls12: false,
        }
    }
}

/// A pooled HTTP client whose every connection is mutual TLS with the expected server.
///
/// Each change of credential or trust makes a new configuration and a new pool: requests that are
/// under way finish on the old one, unless the change refuses their server. Sessions are never
/// resumed. Proxy settings of the environment are not looked at.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    presents: Presents,
    trust: watch::Receiver<Arc<TrustGeneration>>,
    expected: ExpectedServer,
    clock: Arc<dyn Clock>,
    config: ClientConfig,
    registry: Registry,
    side: ArcSwap<Side>,
    rebuilding: Mutex<()>,
}

/// What the client presents.
#[derive(Debug)]
enum Presents {
    /// Nothing yet: it asks for its first credential, in this trust domain.
    Nothing { own: TrustDomain },
    /// The newest credential.
    Newest(watch::Receiver<Arc<Credential>>),
}

impl Presents {
    fn now(&self) -> Option<Arc<Credential>> {
        match self {
            Self::Nothing { .. } => None,
            Self::Newest(credential) => Some(credential.borrow().clone()),
        }
    }

    fn is(&self, presented: Option<&Arc<Credential>>) -> bool {
        match (self, presented) {
            (Self::Nothing { .. }, None) => true,
            (Self::Newest(credential), Some(presented)) => Arc::ptr_eq(presented, &credential.borrow()),
            _ => false,
        }
    }
}

/// One credential under one trust generation, with its pool.
#[derive(Debug)]
struct Side {
    credential: Option<Arc<Credential>>,
    generation: Arc<TrustGeneration>,
    connector: Connector,
    pool: Pool<Connector, Full<Bytes>>,
}

impl Client {
    /// A client that speaks to `expected` and to nobody else.
    ///
    /// # Errors
    /// The credential cannot carry TLS.
    pub fn new(
        credential: watch::Receiver<Arc<Credential>>,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        expected: ExpectedServer,
        clock: Arc<dyn Clock>,
        config: ClientConfig,
    ) -> Result<Self, UnusableCredential> {
        Inner::new(Presents::Newest(credential), trust, expected, clock, config).map(Self::of)
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The connections that are alive, idle ones of the pool included.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Makes the handshake with the server `host` over a transport of the caller's, outside the
    /// pool.
    ///
    /// In TLS 1.3 it may succeed although the server refuses our certificate: the refusal comes with
    /// the first read.
    ///
    /// # Errors
    /// Says who refused whom, and why.
    pub async fn connect<IO>(&self, io: IO, host: &str) -> Result<ServerStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = connector::name(host)
            .map_err(|error| HandshakeError::Io(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        self.inner.registry.keep();
        let side = self.inner.current().map_err(HandshakeError::Credential)?;
        side.connector.handshake(io, name).await
    }

    /// Sends a request to an `https` URL. The answer carries its [`VerifiedServer`] in its
    /// extensions.
    ///
    /// A request that was never sent because its pooled connection had closed is sent on another.
    ///
    /// # Errors
    /// Says who refused whom, and why.
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, ClientError> {
        let span = tracing::debug_span!(
            target: trace::TARGET, "http.client", otel.kind = "client", http.request.method = %request.method(),
            server.address = request.uri().host(), url.path = trace::path(request.uri()),
            http.response.status_code = tracing::field::Empty,
        );
        let answer = self.send(request).instrument(span.clone()).await;
        if let Ok(answer) = &answer {
            span.record("http.response.status_code", answer.status().as_u16());
        }
        answer
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, ClientError> {
        if request.uri().scheme() != Some(&Scheme::HTTPS) {
            return Err(ClientError::NotHttps { uri: request.uri().to_string() });
        }
        self.inner.registry.keep();
        let side = self.inner.current().map_err(ClientError::Credential)?;
        let captured = capture_connection(&mut request);
        match side.pool.request(request).await {
            Ok(response) => {
                let server = response.extensions().get::<VerifiedServer>().cloned();
                if server.as_ref().is_some_and(|server| server.live().is_retiring())
                    && let Some(connected) = captured.connection_metadata().as_ref()
                {
                    // The last request on it: its server's certificate is about to end.
                    connected.poison();
                }
                Ok(response.map(|body| ClientBody::new(body, server)))
            }
            Err(error) => {
                let mut used = Extensions::new();
                if let Some(connected) = captured.connection_metadata().as_ref() {
                    connected.get_extras(&mut used);
                }
                Err(ClientError::from_request(error, used.get::<VerifiedServer>()))
            }
        }
    }
}

impl Inner {
    fn new(
        presents: Presents,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        expected: ExpectedServer,
        clock: Arc<dyn Clock>,
        config: ClientConfig,
    ) -> Result<Self, UnusableCredential> {
        let registry = Registry::new(trust.clone(), Arc::clone(&clock));
        let generation = trust.borrow().clone();
        let parts =
            Parts { presents: &presents, expected: &expected, clock: &clock, config: &config, registry: &registry };
        let side = ArcSwap::from_pointee(parts.side(generation)?);
        Ok(Self { presents, trust, expected, clock, config, registry, side, rebuilding: Mutex::new(()) })
    }

    fn current(&self) -> Result<Arc<Side>, Arc<UnusableCredential>> {
        let side = self.side.load_full();
        if self.is_current(&side) {
            return Ok(side);
        }
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let side = self.side.load_full();
        if self.is_current(&side) {
            return Ok(side);
        }
        let generation = self.trust.borrow().clone();
        let parts = Parts {
            presents: &self.presents,
            expected: &self.expected,
            clock: &self.clock,
            config: &self.config,
            registry: &self.registry,
        };
        let side = Arc::new(parts.side(generation)?);
        self.side.store(Arc::clone(&side));
        Ok(side)
    }

    fn is_current(&self, side: &Side) -> bool {
        side.generation.is_latest() && self.presents.is(side.credential.as_ref())
    }
}

/// What does not change between one side and the next.
struct Parts<'a> {
    presents: &'a Presents,
    expected: &'a ExpectedServer,
    clock: &'a Arc<dyn Clock>,
    config: &'a ClientConfig,
    registry: &'a Registry,
}

impl Parts<'_> {
    fn side(&self, generation: Arc<TrustGeneration>) -> Result<Side, UnusableCredential> {
        let credential = self.presents.now();
        let verifier = Arc::new(ServerVerifier {
            expected: self.expected.clone(),
            own: self.own_domain(credential.as_deref(), &generation),
            generation: Arc::clone(&generation),
            provider: Arc::clone(&self.config.provider),
        });
        let time = Arc::new(TlsClock(Arc::clone(self.clock)));
        let provider = Arc::clone(&self.config.provider);
        let builder = rustls::ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(versions(self.config.tls12))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut tls = match &credential {
            Some(credential) => builder.with_client_cert_resolver(presented(credential, &self.config.provider)?),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = alpn(self.config.http2);
        tls.resumption = Resumption::disabled();
        let connector = Connector::new(Arc::new(tls), verifier, self.registry.clone(), self.config);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(self.config.pool_idle_timeout)
            .pool_max_idle_per_host(self.config.pool_max_idle)
            .http2_keep_alive_interval(Some(Duration::from_secs(20)))
            .build(connector.clone());
        Ok(Side { credential, generation, connector, pool })
    }

    /// The trust domain in which a server is expected by name or host: that of our certificate, or, for
    /// one that only a map can name, that of the map; without one, that in which it is asked for.
    fn own_domain(&self, credential: Option<&Credential>, generation: &TrustGeneration) -> TrustDomain {
        match (self.presents, credential.and_then(Credential::spiffe_id)) {
            (Presents::Nothing { own }, _) => own.clone(),
            (Presents::Newest(_), Some(id)) => id.trust_domain().clone(),
            (Presents::Newest(_), None) => generation.map().own_trust_domain().clone(),
        }
    }
}
