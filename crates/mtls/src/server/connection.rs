//! One connection, from its handshake to its end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::activity::{Activity, Noted, Patience};
use super::service::PeerService;
use super::{BoxError, ServeConfig, log_refusal};
use crate::demand::Caller;
use crate::live::Live;
use crate::peer::Presence as _;
use crate::peer::sealed::Right as _;
use crate::{Acceptor, MtlsStream};

/// How often an HTTP/2 peer with open streams is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// What of an answer waits in memory for a slow reader, on each HTTP/2 stream.
const SEND_BUFFER: usize = 128 * 1024;
/// How long an idle connection has to end in good order.
const FAREWELL: Duration = Duration::from_secs(2);

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Serving<C> {
    pub(super) acceptor: Acceptor<C>,
    pub(super) config: ServeConfig,
    pub(super) drain: CancellationToken,
    pub(super) kill: CancellationToken,
}

impl<C: Caller> Serving<C> {
    pub(super) async fn connection<IO, S, B>(&self, io: IO, remote: SocketAddr, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Boxed: what a handshake needs is not kept for the life of the connection.
        let handshake = Box::pin(async {
            let stream = self.acceptor.accept(io, remote).await?;
            self.config.observer.accepted(stream.peer().is_resumed());
            Ok(self.ready(stream, service))
        });
        let accepted = tokio::select! {
            () = self.kill.cancelled() => return,
            accepted = handshake => accepted,
        };
        match accepted {
            Err(error) => {
                self.config.observer.refused(&error);
                log_refusal(remote, &error);
            }
            Ok(Ready { protocol: Protocol::Http1(connection), live, activity }) => {
                self.drive(connection, live.as_deref(), &activity).await;
            }
            Ok(Ready { protocol: Protocol::Http2(connection), live, activity }) => {
                self.drive(connection, live.as_deref(), &activity).await;
            }
        }
    }

    /// Hands the stream to its protocol; not `async`, since a future keeps room for all that was ever moved through it.
    fn ready<IO, S, B>(&self, stream: MtlsStream<IO, C>, service: S) -> Ready<Speaking<IO, S, C>>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let http2 = stream.is_http2();
        let peer = stream.peer().clone();
        let live = peer.right().cloned();
        let activity = Activity::new(!http2);
        let io = TokioIo::new(Noted::new(stream, Arc::clone(&activity)));
        let max_header_bytes = self.config.max_header_bytes;
        let service = PeerService { service, peer, max_header_bytes, activity: Arc::clone(&activity) };
        let protocol = if http2 {
            Protocol::Http2(Box::pin(self.http2().serve_connection(io, service)))
        } else {
            Protocol::Http1(Box::pin(self.http1().serve_connection(io, service)))
        };
        Ready { protocol, live, activity }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // Ours tells an idle connection from a slow header.
            .header_read_timeout(None)
            .max_buf_size(self.config.max_header_bytes.max(8192));
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.config.max_streams)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(self.config.max_header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        builder
    }

    /// Runs the connection until it ends, its right ends, or its patience or the server's does.
    async fn drive<Conn>(&self, mut connection: Pin<Box<Conn>>, live: Option<&Live>, activity: &Activity)
    where
        Conn: GracefulConnection<Error = hyper::Error>,
    {
        let patience = Patience { header: self.config.header_timeout, idle: self.config.idle_timeout };
        // Polled only when one of its own has woken it, and not with every byte of the connection.
        let mut orders: FuturesUnordered<_> = [self.order(live, false)].into_iter().collect();
        let mut watchdog = Watchdog::new(activity, patience);
        let mut winding_down = false;
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.next() => match order {
                    Order::End => return,
                    Order::WindDown => {
                        orders.push(self.order(live, true));
                        if !winding_down {
                            winding_down = true;
                            connection.as_mut().graceful_shutdown();
                        }
                    }
                },
                event = poll_fn(|cx| poll_both(connection.as_mut(), &mut watchdog, cx)) => match event {
                    Event::Finished(result) => return log_end(live, result),
                    Event::Impatient if winding_down => return,
                    Event::Impatient => {
                        winding_down = true;
                        watchdog.say_farewell();
                        connection.as_mut().graceful_shutdown();
                    }
                },
            }
        }
    }

    /// The next order from outside; one that winds down is given once.
    async fn order(&self, live: Option<&Live>, winding_down: bool) -> Order {
        tokio::select! {
            biased;
            () = ended(live) => Order::End,
            () = self.kill.cancelled() => Order::End,
            () = retired(live), if !winding_down => Order::WindDown,
            () = self.drain.cancelled(), if !winding_down => Order::WindDown,
        }
    }
}

/// A connection whose handshake is done.
struct Ready<P> {
    protocol: P,
    live: Option<Arc<Live>>,
    activity: Arc<Activity>,
}

type Speaking<IO, S, C> = Protocol<TokioIo<Noted<MtlsStream<IO, C>>>, PeerService<S, <C as Caller>::Evidence>>;

/// The two that are spoken.
enum Protocol<IO, S: HttpService<Incoming>> {
    Http1(Pin<Box<http1::Connection<IO, S>>>),
    Http2(Pin<Box<http2::Connection<IO, S, TokioExecutor>>>),
}

/// What becomes of a connection, whatever it is doing.
enum Order {
    End,
    WindDown,
}

enum Event {
    Finished(Result<(), hyper::Error>),
    Impatient,
}

/// The connection first: what it does moves the deadline.
fn poll_both<Conn>(connection: Pin<&mut Conn>, watchdog: &mut Watchdog<'_>, cx: &mut Context<'_>) -> Poll<Event>
where
    Conn: GracefulConnection<Error = hyper::Error>,
{
    if let Poll::Ready(result) = connection.poll(cx) {
        return Poll::Ready(Event::Finished(result));
    }
    watchdog.poll(cx).map(|()| Event::Impatient)
}

/// One timer for both limits, moved earlier at once and later only when it fires.
struct Watchdog<'a> {
    activity: &'a Activity,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    farewell: bool,
}

impl<'a> Watchdog<'a> {
    fn new(activity: &'a Activity, patience: Patience) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + patience.idle));
        Self { activity, patience, timer, farewell: false }
    }

    /// From now on only the last grace counts.
    fn say_farewell(&mut self) {
        self.farewell = true;
        self.timer.as_mut().reset(Instant::now() + FAREWELL);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.farewell {
            return self.timer.as_mut().poll(cx);
        }
        if let Some(deadline) = self.activity.deadline(self.patience)
            && deadline < self.timer.deadline()
        {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let next = match self.activity.deadline(self.patience) {
                Some(deadline) if deadline <= now => return Poll::Ready(()),
                Some(deadline) => deadline,
                None => now + self.patience.idle.min(self.patience.header),
            };
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Waits until the right ends; where nobody is known, for ever.
async fn ended(live: Option<&Live>) {
    match live {
        Some(live) => drop(live.ended().await),
        None => std::future::pending().await,
    }
}

/// Waits until the connection should wind down; where nobody is known, for ever.
async fn retired(live: Option<&Live>) {
    match live {
        Some(live) => live.retired().await,
        None => std::future::pending().await,
    }
}

fn log_end(live: Option<&Live>, result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        let identity = live.map_or("nobody", |live| live.identity.spiffe_id().as_str());
        tracing::debug!(identity, %error, "connection failed");
    }
}
