//! Lines on one side, Streamable HTTP on the other.

mod exchange;
mod handshake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ConnectError;
use super::session::Session;
use super::transport::Transport;
use crate::answer;
use crate::json::Object;
use crate::lines::{Line, bounded_line};

/// Lines that wait for the client to read them.
const QUEUE: usize = 64;
/// How long a message without an answer may take.
const ONE_WAY: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long the DELETE at the end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// One conversation, shared by the tasks that carry it.
#[derive(Clone)]
struct Carrier {
    transport: Arc<Transport>,
    session: Arc<Session>,
    out: mpsc::Sender<String>,
    slots: Arc<Semaphore>,
    reopening: Arc<tokio::sync::Mutex<()>>,
    tasks: TaskTracker,
    /// Ends what has no end of its own: GET streams and subscriptions.
    over: CancellationToken,
}

/// Carries lines until `input` ends or `shutdown`, then drains what is in flight and ends the session.
pub(super) async fn carry<R, W>(
    transport: Arc<Transport>,
    input: R,
    output: W,
    shutdown: CancellationToken,
) -> Result<(), ConnectError>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (out, lines) = mpsc::channel(QUEUE);
    let broken = CancellationToken::new();
    let writer = tokio::spawn(write(output, lines, broken.clone()));
    let limits = transport.limits.clone();
    let carrier = Carrier {
        transport,
        session: Arc::new(Session::default()),
        out,
        slots: Arc::new(Semaphore::new(limits.in_flight)),
        reopening: Arc::default(),
        tasks: TaskTracker::new(),
        over: CancellationToken::new(),
    };
    let read = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = broken.cancelled() => Ok(()),
        read = carrier.read(input) => read,
    };
    carrier.end(limits.drain).await;
    drop(carrier);
    match writer.await {
        Ok(Err(source)) => Err(ConnectError::Io { stream: "standard output", source }),
        _ => read,
    }
}

impl Carrier {
    async fn read<R: AsyncRead + Unpin + Send>(&self, input: R) -> Result<(), ConnectError> {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        loop {
            let read = bounded_line(&mut input, &mut line, self.transport.limits.message).await;
            match read.map_err(|source| ConnectError::Io { stream: "standard input", source })? {
                Line::Whole => self.take(&line).await,
                Line::End => return Ok(()),
                Line::TooLong => {
                    let source =
                        std::io::Error::other(format!("a line is longer than {} bytes", self.transport.limits.message));
                    return Err(ConnectError::Io { stream: "standard input", source });
                }
            }
        }
    }

    /// Takes one line. What has an answer is carried by a task; all else in the order in which it came.
    async fn take(&self, line: &[u8]) {
        let text = match std::str::from_utf8(line) {
            Ok(text) if text.trim().is_empty() => return,
            Ok(text) => text,
            Err(_) => return self.say(answer::error_line(None, -32700, "the line is not UTF-8")).await,
        };
        let message = match Object::parse(text) {
            Ok(message) => message,
            Err(error) => {
                return self
                    .say(answer::error_line(None, -32700, &format!("the line is not one JSON-RPC message: {error}")))
                    .await;
            }
        };
        let method = message.text("method").map(std::borrow::Cow::into_owned);
        match (method.as_deref(), message.get("id").map(ToOwned::to_owned)) {
            (Some("initialize"), Some(id)) => self.initialize(&message, text, &id).await,
            (Some(method), Some(id)) => self.request(message, method, id).await,
            (Some("notifications/cancelled"), None) => self.cancelled(&message, text).await,
            (Some("notifications/initialized"), None) => self.initialized(&message, text).await,
            _ => self.one_way(&message, text).await,
        }
    }

    async fn request(&self, mut message: Object<'_>, method: &str, id: Box<RawValue>) {
        if self.session.is_lifted() && method == "ping" {
            // The stateless era has none.
            return self.say(pong(&id)).await;
        }
        self.session.raise(&mut message);
        let (headers, body) = (self.session.headers(&message), Bytes::from(message.line()));
        let endless = method == "subscriptions/listen";
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
        let cancelled = self.session.begin(&id);
        let carrier = self.clone();
        self.tasks.spawn(async move {
            let over = if endless { carrier.over.clone() } else { CancellationToken::new() };
            tokio::select! {
                biased;
                // Dropping the exchange closes its stream, which is how the stateless era cancels.
                () = cancelled.cancelled() => {}
                () = over.cancelled() => {}
                () = carrier.exchange(headers, body, &id) => {}
            }
            carrier.session.end(&id);
            drop(slot);
        });
    }

    async fn cancelled(&self, message: &Object<'_>, text: &str) {
        let id = message.object("params").and_then(|params| params.get("requestId").map(ToOwned::to_owned));
        if self.session.id().is_some() {
            self.one_way(message, text).await;
        }
        if let Some(id) = id {
            self.session.cancel(&id);
        }
    }

    async fn initialized(&self, message: &Object<'_>, text: &str) {
        if self.session.is_lifted() {
            return;
        }
        self.one_way(message, text).await;
        if self.session.id().is_some() {
            let carrier = self.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = carrier.over.cancelled() => {}
                    () = carrier.listen() => {}
                }
            });
        }
    }

    /// A notification, or a response to what the server asked.
    async fn one_way(&self, message: &Object<'_>, text: &str) {
        let headers = self.session.headers(message);
        match self.transport.send(Method::POST, headers, Bytes::copy_from_slice(text.as_bytes()), ONE_WAY).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => tracing::warn!(status = %response.status(), "the server did not take a notification"),
            Err(error) => tracing::warn!(%error, "a notification was not sent"),
        }
    }

    /// The GET stream of the older era, opened again whenever it ends.
    async fn listen(&self) {
        let mut delay = FIRST_RETRY;
        loop {
            let sent = self
                .transport
                .send(Method::GET, self.session.bare_headers(), Bytes::new(), self.transport.limits.headers)
                .await;
            match sent {
                Ok(response) if response.status() == StatusCode::OK => {
                    delay = FIRST_RETRY;
                    self.events(response.into_body(), None).await;
                }
                // The next request opens another session.
                Ok(response) if response.status() == StatusCode::NOT_FOUND => delay = LAST_RETRY,
                // No such stream here.
                Ok(response) if response.status().is_client_error() => return,
                Ok(_) | Err(_) => delay = (delay * 2).min(LAST_RETRY),
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn say(&self, line: String) {
        // Nobody reads any more: the writer has said why.
        let _ = self.out.send(line).await;
    }

    /// Lets what is in flight finish, then ends the session.
    async fn end(&self, drain: Duration) {
        self.over.cancel();
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            tracing::warn!(in_flight = self.tasks.len(), "requests are still in flight and are given up");
        }
        if self.session.id().is_some() {
            let _ = self.transport.send(Method::DELETE, self.session.bare_headers(), Bytes::new(), FAREWELL).await;
        }
    }
}

fn pong(id: &RawValue) -> String {
    let mut answer = Object::default();
    answer.set("jsonrpc", crate::json::raw("2.0"));
    answer.set("id", id.to_owned());
    answer.set("result", Object::default().raw());
    answer.line()
}

async fn write<W: AsyncWrite + Unpin>(
    mut output: W,
    mut lines: mpsc::Receiver<String>,
    broken: CancellationToken,
) -> std::io::Result<()> {
    let _broken = broken.drop_guard();
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        output.write_all(line.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
