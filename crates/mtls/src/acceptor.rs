//! The server side of a handshake.

mod side;

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use countermark_credential::Credential;
use countermark_identity::{AgentId, Clock};
use rustls::crypto::CryptoProvider;
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::side::Side;
use crate::demand::{Caller, Demand};
use crate::evidence::Evidence;
use crate::registry::Registry;
use crate::stream::{LiveIo, transport};
use crate::verifier::observed;
use crate::{HandshakeError, Refusal, TrustGeneration, UnusableCredential};

/// How long a refused peer has to read its alert before the socket closes.
const LINGER: Duration = Duration::from_millis(500);

/// What an acceptor may be told beyond whom it trusts.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct AcceptorConfig {
    /// Accepts `/agent/<name>/sub/<id>`, too. Off: nothing checks a delegation yet.
    pub accept_sub_agents: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Offers HTTP/2 by ALPN, before HTTP/1.1.
    pub http2: bool,
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// How many sessions of one trust generation may be resumed; 0 switches resumption off.
    pub session_cache: usize,
    /// Speaks TLS 1.2, too.
    pub tls12: bool,
}

impl Default for AcceptorConfig {
    fn default() -> Self {
        Self {
            accept_sub_agents: false,
            handshake_timeout: Duration::from_secs(5),
            http2: true,
            provider: crate::provider(),
            session_cache: 1024,
            tls12: false,
        }
    }
}

/// Accepts connections from callers of one kind, by default agents.
///
/// Every change of credential, bundles, CRLs or map makes a new rustls configuration with an empty
/// session store, so that whoever connects after it makes a full handshake.
#[derive(Debug)]
pub struct Acceptor<C = AgentId> {
    inner: Arc<Inner>,
    callers: PhantomData<fn() -> C>,
}

#[derive(Debug)]
struct Inner {
    credential: watch::Receiver<Arc<Credential>>,
    trust: watch::Receiver<Arc<TrustGeneration>>,
    clock: Arc<dyn Clock>,
    config: AcceptorConfig,
    demand: Demand,
    registry: Registry,
    side: ArcSwap<Side>,
    rebuilding: Mutex<()>,
}

impl Acceptor<AgentId> {
    /// An acceptor of agents.
    ///
    /// # Errors
    /// The credential cannot carry TLS.
    pub fn new(
        credential: watch::Receiver<Arc<Credential>>,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        clock: Arc<dyn Clock>,
        config: AcceptorConfig,
    ) -> Result<Self, UnusableCredential> {
        Self::of_callers(credential, trust, clock, config)
    }
}

impl<C: Caller> Acceptor<C> {
    /// An acceptor of the callers that `C` stands for.
    ///
    /// # Errors
    /// The credential cannot carry TLS.
    pub fn of_callers(
        credential: watch::Receiver<Arc<Credential>>,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        clock: Arc<dyn Clock>,
        config: AcceptorConfig,
    ) -> Result<Self, UnusableCredential> {
        let demand =
            Demand::Caller { roles: C::ROLES, sub_agents: config.accept_sub_agents, required: C::CERTIFICATE_REQUIRED };
        let (present, generation) = (credential.borrow().clone(), trust.borrow().clone());
        let side = Side::new(present, generation, &demand, &clock, &config)?;
        let registry = Registry::new(trust.clone(), Arc::clone(&clock));
        let inner = Inner {
            credential,
            trust,
            clock,
            config,
            demand,
            registry,
            side: ArcSwap::from_pointee(side),
            rebuilding: Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner), callers: PhantomData })
    }

    /// The connections that are alive.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Makes the handshake. Whoever gets a stream has a caller that was judged just now.
    ///
    /// # Errors
    /// Says why for the log; the peer has been sent an alert where there is one to send.
    pub async fn accept<IO>(&self, io: IO, remote: SocketAddr) -> Result<MtlsStream<IO, C>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.inner.registry.keep();
        let side = self.inner.current()?;
        let limit = self.inner.config.handshake_timeout;
        let handshake = observed(TlsAcceptor::from(Arc::clone(&side.tls)).accept(io).into_fallible());
        let (finished, concluded) =
            tokio::time::timeout(limit, handshake).await.map_err(|_| HandshakeError::Timeout { limit })?;
        let tls = match finished {
            Ok(tls) => tls,
            Err((error, io)) => {
                linger(io).await;
                return Err(match concluded {
                    Some(Err(refusal)) => HandshakeError::Refused(refusal),
                    _ => HandshakeError::from_io(error),
                });
            }
        };
        match self.inner.evidence(&tls, &side, concluded) {
            Ok(evidence) => self.finish(tls, evidence, remote),
            Err(HandshakeError::NoCertificate) => {
                let peer = C::anonymous(remote).ok_or(HandshakeError::NoCertificate)?;
                Ok(MtlsStream { io: LiveIo::new(tls.into(), None), peer })
            }
            Err(error) => Err(error),
        }
    }

    fn finish<IO>(
        &self,
        tls: TlsStream<IO>,
        evidence: Evidence,
        remote: SocketAddr,
    ) -> Result<MtlsStream<IO, C>, HandshakeError> {
        let (identity, resumed) = (evidence.identity.clone(), is_resumed(&tls));
        let admitted = self.inner.registry.admit(evidence, self.inner.demand.clone());
        let live = admitted.map_err(HandshakeError::Ended)?;
        let Some(peer) = C::verified(&identity, remote, resumed, Arc::clone(&live)) else {
            let presented = identity.spiffe_id().clone();
            return Err(HandshakeError::Refused(Arc::new(Refusal::Role { presented })));
        };
        Ok(MtlsStream { io: LiveIo::new(tls.into(), Some(live)), peer })
    }
}

impl<C> Clone for Acceptor<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), callers: PhantomData }
    }
}

impl Inner {
    /// The configuration for the credential and the trust of this moment.
    fn current(&self) -> Result<Arc<Side>, HandshakeError> {
        let side = self.side.load_full();
        if self.is_current(&side) {
            return Ok(side);
        }
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let side = self.side.load_full();
        if self.is_current(&side) {
            return Ok(side);
        }
        let (credential, generation) = (self.credential.borrow().clone(), self.trust.borrow().clone());
        let side = Side::new(credential, generation, &self.demand, &self.clock, &self.config)
            .map_err(|error| HandshakeError::Credential(Arc::new(error)))?;
        let side = Arc::new(side);
        self.side.store(Arc::clone(&side));
        Ok(side)
    }

    fn is_current(&self, side: &Side) -> bool {
        side.generation.is_latest() && Arc::ptr_eq(&side.credential, &self.credential.borrow())
    }

    /// The verifier's evidence, or, where it was not asked (a resumption), the same judgement now.
    fn evidence<IO>(
        &self,
        tls: &TlsStream<IO>,
        side: &Side,
        concluded: Option<Result<Evidence, Arc<Refusal>>>,
    ) -> Result<Evidence, HandshakeError> {
        let presented = tls.get_ref().1.peer_certificates().unwrap_or_default();
        match concluded {
            Some(Err(refusal)) => Err(HandshakeError::Refused(refusal)),
            Some(Ok(evidence)) if *evidence.chain == *presented => Ok(evidence),
            _ if presented.is_empty() => Err(HandshakeError::NoCertificate),
            _ => Evidence::verify(presented.into(), &self.demand, &side.generation, self.clock.now())
                .map_err(|refusal| HandshakeError::Refused(Arc::new(refusal))),
        }
    }
}

fn is_resumed<IO>(tls: &TlsStream<IO>) -> bool {
    tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Reads what the refused peer is still sending: closing over unread bytes resets the connection,
/// and the reset may overtake the alert.
async fn linger<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    let drain = async {
        let mut sink = [0; 1024];
        io.shutdown().await?;
        for _ in 0..64 {
            if io.read(&mut sink).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whatever becomes of it, the refusal is what is reported.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// A connection with its verified caller; fails as soon as the caller's right has ended.
#[derive(Debug)]
pub struct MtlsStream<IO, C: Caller = AgentId> {
    io: LiveIo<IO>,
    peer: C::Evidence,
}

impl<IO, C: Caller> MtlsStream<IO, C> {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &C::Evidence {
        &self.peer
    }

    /// Whether HTTP/2 was agreed on by ALPN.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.io.is_http2()
    }

    /// The key exchange group that was agreed on.
    #[must_use]
    pub fn key_exchange(&self) -> Option<NamedGroup> {
        self.io.key_exchange()
    }
}

transport!(MtlsStream<IO, C>, C: Caller);
