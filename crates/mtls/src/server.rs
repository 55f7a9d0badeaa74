//! HTTP over mutual TLS, with the limits of a listener that faces strangers.

mod activity;
mod connection;
mod observe;
mod service;
mod sources;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use self::connection::Serving;
use self::observe::Deaf;
pub use self::observe::Observe;
use self::sources::Sources;
use crate::demand::Caller;
use crate::{Acceptor, HandshakeError};

/// An error of any kind, as tower and hyper pass it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The longest pause after the process ran out of descriptors.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a silent TCP peer is left alone before it is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The limits of a listener.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct ServeConfig {
    /// How long open requests may take to finish once shutdown was asked for.
    pub drain_timeout: Duration,
    /// How long a request's header may take from its first byte (HTTP/1.1).
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How many connections are open at once, handshakes included; more wait in the backlog.
    pub max_connections: usize,
    /// How many of them one source address (of IPv6, one /64) holds at most; more are closed at once. Behind a balancer that
    /// hides addresses all callers have one: then this must not be set.
    pub max_connections_per_source: Option<usize>,
    /// How large the header of a request may be.
    pub max_header_bytes: usize,
    /// How many requests one HTTP/2 connection may have open.
    pub max_streams: u32,
    /// Hears what becomes of handshakes.
    pub observer: Arc<dyn Observe>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_connections: 4096,
            max_connections_per_source: None,
            max_header_bytes: 32 * 1024,
            max_streams: 100,
            observer: Arc::new(Deaf),
        }
    }
}

/// Serves until `shutdown`, then drains.
///
/// Each request carries its [`VerifiedPeer`](crate::VerifiedPeer) in its extensions, and its peer
/// was judged just before it was handed on. A connection whose right ends is closed with its
/// streams; one whose certificate is about to end winds down first.
pub async fn serve<S, B, C>(
    listener: TcpListener,
    acceptor: Acceptor<C>,
    service: S,
    config: ServeConfig,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: Caller,
{
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let sources = Sources::new(config.max_connections_per_source);
    let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
    let drain_timeout = config.drain_timeout;
    let serving = Arc::new(Serving { acceptor, config, drain: shutdown.clone(), kill: kill.clone() });
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, next(&listener).await)
        };
        let (slot, (io, remote)) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let Some(counted) = sources.admit(remote.ip()) else {
            tracing::debug!(%remote, "closed: its source holds as many connections as it may");
            serving.config.observer.crowded();
            continue;
        };
        let (serving, service) = (Arc::clone(&serving), service.clone());
        tasks.spawn(async move {
            serving.connection(io, remote, service).await;
            drop((counted, slot));
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "connections still open after the drain time-out are closed");
        kill.cancel();
        tasks.wait().await;
    }
}

/// The next connection. Errors are those of one connection, or of a process out of descriptors,
/// which is waited out: giving up would end a server that will recover.
pub(crate) async fn next(listener: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
    let mut pause = Duration::from_millis(10);
    loop {
        match listener.accept().await {
            Ok((io, remote)) => {
                tune(&io);
                return (io, remote);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, ?pause, "cannot accept connections: raise the descriptor limit");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Small answers do not wait for acknowledgements, and a peer that vanished is noticed. Without
/// either the connection is only slower, or later to go.
fn tune(io: &TcpStream) {
    let _ = io.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(io, true);
    let _ = sockopt::set_tcp_keepidle(io, KEEP_ALIVE);
    let _ = sockopt::set_tcp_keepintvl(io, KEEP_ALIVE / 4);
    let _ = sockopt::set_tcp_keepcnt(io, 4);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Says why there is no connection. A stranger's noise is not our error.
pub(crate) fn log_refusal(remote: std::net::SocketAddr, error: &HandshakeError) {
    match error {
        HandshakeError::Credential(cause) => {
            tracing::error!(%remote, error = %cause, "handshake impossible");
        }
        HandshakeError::Io(_) | HandshakeError::Timeout { .. } => {
            tracing::debug!(%remote, reason = %error, kind = error.kind(), "handshake failed");
        }
        _ => tracing::warn!(%remote, reason = %error, kind = error.kind(), "handshake refused"),
    }
}
