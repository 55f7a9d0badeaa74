//! Kept HTTP/1.1 connections to one endpoint. Each is driven by the request that uses it: no task of its own, nothing that is
//! handed from one task to another.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use tokio::time::{Instant, sleep_until};

use super::connector::{Connector, Plain};

/// Shorter than the 5 s that Node and uvicorn keep an idle connection, so that none is used as it closes.
const IDLE: Duration = Duration::from_secs(4);

/// The connections that wait for a request, the one used last on top.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connector: Connector,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    links: Vec<(Instant, Box<Link>)>,
    /// Somebody closes those that have waited for too long.
    swept: bool,
}

/// One connection.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection<Plain, Full<Bytes>>>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    Connect(io::Error),
    Broken(hyper::Error),
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { inner: Arc::new(Inner { connector, idle: Mutex::default() }) }
    }

    /// Sends a request on a kept connection, or on a new one where none is left that still takes it.
    pub(crate) async fn request(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Driven>, Failure> {
        while let Some(link) = self.inner.take() {
            match link.send(request).await {
                Ok(answer) => return Ok(self.driven(answer)),
                // It had closed before the request was on it.
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(Failure::Broken(error)),
            }
        }
        let link = Box::pin(self.inner.connect()).await?;
        link.send(request).await.map(|answer| self.driven(answer)).map_err(|(error, _)| Failure::Broken(error))
    }

    fn driven(&self, (response, link): (Response<Incoming>, Box<Link>)) -> Response<Driven> {
        response.map(|body| {
            let mut driven = Driven { body, link: Some(link), pool: Arc::clone(&self.inner) };
            if driven.body.is_end_stream() {
                driven.give_back(&mut Context::from_waker(std::task::Waker::noop()));
            }
            driven
        })
    }
}

impl Inner {
    async fn connect(&self) -> Result<Box<Link>, Failure> {
        let io = self.connector.connect().await.map_err(Failure::Connect)?;
        let (sender, connection) = http1::handshake(io).await.map_err(Failure::Broken)?;
        Ok(Box::new(Link { sender, connection: Some(connection) }))
    }

    fn take(&self) -> Option<Box<Link>> {
        let mut idle = self.lock();
        let (since, link) = idle.links.pop()?;
        if since.elapsed() < IDLE {
            return Some(link);
        }
        // The newest is too old.
        idle.links.clear();
        None
    }

    fn put(self: &Arc<Self>, link: Box<Link>) {
        let mut idle = self.lock();
        idle.links.push((Instant::now(), link));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited for too long; answers when the next one will have.
    fn close_old(&self) -> Option<Instant> {
        let mut idle = self.lock();
        let now = Instant::now();
        // The oldest stand first.
        let old = idle.links.partition_point(|(since, _)| *since + IDLE <= now);
        idle.links.drain(..old);
        let next = idle.links.first().map(|(since, _)| *since + IDLE);
        idle.swept = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lives while connections wait.
async fn sweep(pool: Weak<Inner>) {
    let mut next = Instant::now() + IDLE;
    loop {
        sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.close_old()) {
            Some(later) => next = later,
            None => return,
        }
    }
}

type Unsent = Option<Request<Full<Bytes>>>;

impl Link {
    /// The response with the connection that its body is still on; or the request, if it never was on the connection.
    async fn send(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Box<Self>), (hyper::Error, Unsent)> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = std::future::poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        match answered.await {
            Ok(response) => Ok((response, self)),
            Err(mut error) => {
                let unsent = error.take_message();
                Err((error.into_error(), unsent))
            }
        }
    }

    /// Lets the connection read and write. One that has ended is dropped, which tells whoever waits for it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = Pin::new(connection).poll(cx)
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the upstream ended");
            }
            self.connection = None;
        }
    }
}

/// The body of an answer, which drives the connection that it comes on and gives it back at its end.
#[derive(Debug)]
pub(crate) struct Driven {
    body: Incoming,
    link: Option<Box<Link>>,
    pool: Arc<Inner>,
}

impl Driven {
    /// A connection that does not ask for the next request by now is closed instead.
    fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Some(mut link) = self.link.take() {
            link.drive(cx);
            if link.sender.is_ready() {
                self.pool.put(link);
            }
        }
    }
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // Asks for a piece, so that the connection reads one.
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(link) = &mut this.link
        {
            link.drive(cx);
            polled = Pin::new(&mut this.body).poll_frame(cx);
        }
        match &polled {
            Poll::Ready(Some(Ok(_))) if !this.body.is_end_stream() => {}
            Poll::Ready(Some(Ok(_)) | None) => this.give_back(cx),
            Poll::Ready(Some(Err(_))) => this.link = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::connector::Target;
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// A server that answers so many requests on each connection and then closes it; and how many it has accepted.
    async fn server(answers: usize) -> (Pool, Arc<AtomicUsize>) {
        server_of(answers, ANSWER).await
    }

    async fn server_of(answers: usize, answer: &'static [u8]) -> (Pool, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut asked = [0; 1024];
                    for _ in 0..answers {
                        if stream.read(&mut asked).await.unwrap_or(0) == 0 || stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let target = Target::Tcp { host: "127.0.0.1".to_owned(), port, anywhere: false };
        (Pool::new(Connector::new(target, Duration::from_secs(5))), accepted)
    }

    fn request() -> Request<Full<Bytes>> {
        Request::post("/mcp").header("host", "localhost").body(Full::from("{}")).unwrap()
    }

    async fn ask(pool: &Pool) {
        let answer = pool.request(request()).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "ok");
    }

    #[tokio::test]
    async fn one_connection_serves_one_request_after_another() {
        let (pool, accepted) = server(usize::MAX).await;
        for _ in 0..20 {
            ask(&pool).await;
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
        let both = tokio::join!(pool.request(request()), pool.request(request()));
        assert_eq!(accepted.load(Ordering::SeqCst), 2, "two at once need two");
        // Given up before their ends: neither is used again.
        drop(both);
        ask(&pool).await;
        assert_eq!(accepted.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_request_on_a_connection_that_has_closed_is_sent_on_another() {
        let (pool, accepted) = server(1).await;
        for asked in 1..=5 {
            ask(&pool).await;
            assert_eq!(accepted.load(Ordering::SeqCst), asked);
            while pool.inner.lock().links.iter_mut().any(|(_, link)| is_open(link)) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_only_after_a_whole_exchange_with_nothing_left_over() {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ];
        for answer in answers {
            let (pool, accepted) = server_of(usize::MAX, answer).await;
            for asked in 1..=3 {
                ask(&pool).await;
                assert_eq!(accepted.load(Ordering::SeqCst), asked, "{}", String::from_utf8_lossy(answer));
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_request_is_out_ends_its_connection() {
        let early = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
        let (pool, accepted) = server_of(usize::MAX, early).await;
        for asked in 1..=3 {
            let body = Full::from(vec![b'x'; 8 << 20]);
            let response = pool.request(request().map(|_| body)).await.unwrap();
            assert_eq!(response.status(), 413);
            assert_eq!(accepted.load(Ordering::SeqCst), asked);
        }
    }

    /// Whether the closing has not been noticed yet.
    fn is_open(link: &mut Link) -> bool {
        link.drive(&mut Context::from_waker(std::task::Waker::noop()));
        link.connection.is_some()
    }

    #[tokio::test]
    async fn what_has_waited_for_too_long_is_closed() {
        let (pool, _) = server(usize::MAX).await;
        ask(&pool).await;
        let wait = |by| pool.inner.lock().links.iter_mut().for_each(|(since, _)| *since -= by);
        wait(IDLE / 2);
        assert!(pool.inner.close_old().is_some() && pool.inner.lock().links.len() == 1);
        wait(IDLE / 2);
        assert!(pool.inner.take().is_none(), "not used any more");
        ask(&pool).await;
        wait(IDLE);
        assert!(pool.inner.close_old().is_none() && pool.inner.lock().links.is_empty());
    }
}
