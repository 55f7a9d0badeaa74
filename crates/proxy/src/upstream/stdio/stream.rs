//! One request's answer over HTTP: JSON if it comes first and soon, else an event stream.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::desk::Exchange;
use crate::answer;
use crate::body::{self, Body};
use crate::json::Object;
use crate::sse;

/// An answer that takes longer comes as an event stream, whose comments show that it is alive.
const PATIENCE: Duration = Duration::from_millis(1500);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow client.
const QUEUE: usize = 8;

/// What the client takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepts {
    pub(crate) json: bool,
    pub(crate) events: bool,
}

impl Accepts {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut accepts = Self { json: false, events: false };
        for range in
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
        {
            let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            accepts.json |= matches!(range.as_str(), "application/json" | "application/*" | "*/*");
            accepts.events |= matches!(range.as_str(), "text/event-stream" | "text/*" | "*/*");
        }
        if !accepts.json && !accepts.events {
            accepts.json = true;
        }
        accepts
    }
}

/// How a request in flight is waited for.
pub(crate) struct Waiting<C> {
    pub(crate) id: Box<RawValue>,
    pub(crate) accepts: Accepts,
    /// `None` for a subscription, which has no end of its own.
    pub(crate) deadline: Option<Duration>,
    /// Called when the client goes away or the time is up.
    pub(crate) cancel: Option<C>,
    /// A stateless client learns of an unknown method by status, too.
    pub(crate) stateless: bool,
}

impl<C: FnOnce() + Send + 'static> Waiting<C> {
    /// Waits for what comes first.
    pub(crate) async fn answer(self, mut exchange: Exchange) -> Response<Body> {
        let mut given_up = GivenUp(self.cancel);
        let deadline = self.deadline.map(|time| Instant::now() + time);
        let impatient = self.accepts.events && self.accepts.json;
        let stream = self.accepts.events;
        let first = tokio::select! {
            biased;
            Some(event) = exchange.events.recv(), if stream => Some(event),
            answer = &mut exchange.answer, if self.accepts.json => {
                let finished = given_up.0.take();
                return match answer {
                    Ok(line) => { drop(finished); answered(line, self.stateless) }
                    Err(_) => answer::error(StatusCode::BAD_GATEWAY, Some(&self.id), answer::INTERNAL, ENDED),
                };
            }
            () = sleep(PATIENCE), if impatient => None,
            () = std::future::ready(()), if !self.accepts.json => None,
            () = expired(deadline) => return answer::error(StatusCode::GATEWAY_TIMEOUT, Some(&self.id), answer::INTERNAL, SLOW),
        };
        let (sender, body) = body::channel(QUEUE);
        tokio::spawn(pump(Pump { id: self.id, sender, deadline, given_up }, exchange, first));
        answer::events(body)
    }
}

const ENDED: &str = "the stdio server ended before it answered";
const SLOW: &str = "the stdio server did not answer in time";

/// Cancels the request unless it is answered first.
struct GivenUp<C: FnOnce()>(Option<C>);

impl<C: FnOnce()> Drop for GivenUp<C> {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}

struct Pump<C: FnOnce()> {
    id: Box<RawValue>,
    sender: mpsc::Sender<Bytes>,
    deadline: Option<Instant>,
    given_up: GivenUp<C>,
}

async fn pump<C: FnOnce()>(mut pump: Pump<C>, mut exchange: Exchange, first: Option<String>) {
    if let Some(first) = first {
        let _ = pump.sender.send(sse::event(&first)).await;
    }
    let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let piece = tokio::select! {
            biased;
            () = pump.sender.closed() => return,
            Some(event) = exchange.events.recv() => sse::event(&event),
            answer = &mut exchange.answer => {
                pump.given_up.0 = None;
                while let Ok(event) = exchange.events.try_recv() {
                    let _ = pump.sender.send(sse::event(&event)).await;
                }
                let line = answer.unwrap_or_else(|_| answer::error_line(Some(&pump.id), answer::INTERNAL, ENDED));
                let _ = pump.sender.send(sse::event(&line)).await;
                return;
            }
            _ = alive.tick() => sse::KEEP_ALIVE,
            () = expired(pump.deadline) => {
                let _ = pump.sender.send(sse::event(&answer::error_line(Some(&pump.id), answer::INTERNAL, SLOW))).await;
                return;
            }
        };
        if pump.sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// A session's GET stream: what the process says unasked.
pub(crate) fn unasked(mut lines: mpsc::Receiver<String>) -> Response<Body> {
    let (sender, body) = body::channel(QUEUE);
    tokio::spawn(async move {
        let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        // At once, so that the client's headers do not wait for the first event.
        let mut piece = sse::KEEP_ALIVE;
        while sender.send(piece).await.is_ok() {
            piece = tokio::select! {
                biased;
                () = sender.closed() => return,
                line = lines.recv() => match line {
                    Some(line) => sse::event(&line),
                    None => return,
                },
                _ = alive.tick() => sse::KEEP_ALIVE,
            };
        }
    });
    answer::events(body)
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn answered(line: String, stateless: bool) -> Response<Body> {
    let unknown = stateless && error_code(&line) == Some(answer::NO_METHOD);
    answer::json(if unknown { StatusCode::NOT_FOUND } else { StatusCode::OK }, line)
}

/// The code of a JSON-RPC error.
pub(crate) fn error_code(line: &str) -> Option<i64> {
    let answer = Object::parse(line).ok()?;
    answer.object("error")?.get("code")?.get().parse().ok()
}
