//! For routers that `axum::serve` runs.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::{IncomingStream, Listener};
use countermark_identity::AgentId;
use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_layer::Layer;
use tower_service::Service;

use crate::demand::Caller;
use crate::server::{log_refusal, next};
use crate::{Acceptor, HandshakeError, MtlsStream, VerifiedPeer};

/// How many handshakes are under way at once.
const HANDSHAKES: usize = 256;

/// A listener that yields connections whose caller is verified.
///
/// Handshakes run beside each other: a slow one holds up nobody. `axum::serve` sets no limits on
/// headers or idle time; [`serve`](crate::serve) does.
///
/// ```no_run
/// use axum::{Extension, Router, routing::get};
/// use countermark_mtls::{Acceptor, MtlsListener, PeerLayer, VerifiedPeer};
///
/// # async fn run(acceptor: Acceptor) -> std::io::Result<()> {
/// let tcp = tokio::net::TcpListener::bind("127.0.0.1:8443").await?;
/// let router = Router::new()
///     .route("/", get(|Extension(peer): Extension<VerifiedPeer>| async move { peer.agent().to_string() }))
///     .layer(PeerLayer::new());
/// axum::serve(
///     MtlsListener::new(tcp, acceptor),
///     router.into_make_service_with_connect_info::<VerifiedPeer>(),
/// )
/// .await
/// # }
/// ```
#[derive(Debug)]
pub struct MtlsListener<C: Caller = AgentId> {
    tcp: TcpListener,
    acceptor: Acceptor<C>,
    handshakes: JoinSet<(SocketAddr, Accepted<C>)>,
}

type Accepted<C> = Result<MtlsStream<TcpStream, C>, HandshakeError>;

impl<C: Caller> MtlsListener<C> {
    /// Accepts TCP connections from `tcp` and hands on those that `acceptor` accepts.
    #[must_use]
    pub fn new(tcp: TcpListener, acceptor: Acceptor<C>) -> Self {
        Self { tcp, acceptor, handshakes: JoinSet::new() }
    }
}

impl<C: Caller> Listener for MtlsListener<C> {
    type Io = MtlsStream<TcpStream, C>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let room = self.handshakes.len() < HANDSHAKES;
            tokio::select! {
                (io, remote) = next(&self.tcp), if room => {
                    let acceptor = self.acceptor.clone();
                    self.handshakes.spawn(async move { (remote, acceptor.accept(io, remote).await) });
                }
                Some(finished) = self.handshakes.join_next() => match finished {
                    Ok((remote, Ok(stream))) => return (stream, remote),
                    Ok((remote, Err(error))) => log_refusal(remote, &error),
                    Err(error) => tracing::error!(%error, "a handshake task failed"),
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl<C: Caller<Evidence = Self>> Connected<IncomingStream<'_, MtlsListener<C>>> for VerifiedPeer<C> {
    fn connect_info(stream: IncomingStream<'_, MtlsListener<C>>) -> Self {
        stream.io().peer().clone()
    }
}

/// Judges the peer before each request and puts its [`VerifiedPeer`] into the extensions.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PeerLayer;

impl PeerLayer {
    /// The layer. The router must be served with
    /// `into_make_service_with_connect_info::<VerifiedPeer>()`.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for PeerLayer {
    type Service = PeerService<S>;

    fn layer(&self, inner: S) -> PeerService<S> {
        PeerService { inner }
    }
}

/// The service that [`PeerLayer`] makes.
#[derive(Clone, Debug)]
pub struct PeerService<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for PeerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<ConnectInfo<VerifiedPeer>>().cloned();
        match peer {
            Some(ConnectInfo(peer)) if peer.judge().is_ok() => {
                request.extensions_mut().insert(peer);
                Either::Left(self.inner.call(request))
            }
            // Nobody behind this layer ever sees a request without a verified peer.
            _ => {
                let mut refused = Response::new(R::default());
                *refused.status_mut() = StatusCode::FORBIDDEN;
                Either::Right(ready(Ok(refused)))
            }
        }
    }
}
