//! The table itself, under the desk's lock.

use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::QUEUE;
use crate::json::Object;
use crate::upstream::stdio::era::{self, Listener, Shape};

#[derive(Debug)]
pub(super) struct Table {
    pub(super) next: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    pub(super) listeners: BTreeMap<u64, Listener>,
    pub(super) stream: Option<mpsc::Sender<String>>,
    pub(super) backlog: VecDeque<String>,
    pub(super) used: Instant,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Box<RawValue>,
    pub(super) token: Option<Box<RawValue>>,
    pub(super) shape: Shape,
    pub(super) events: Option<mpsc::Sender<String>>,
    pub(super) answer: oneshot::Sender<String>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            pending: BTreeMap::new(),
            listeners: BTreeMap::new(),
            stream: None,
            backlog: VecDeque::new(),
            used: Instant::now(),
            closed: false,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    pub(super) fn progress(&self, message: &mut Object<'_>) {
        if let Some((number, params)) = self.progress_of(message) {
            message.set("params", params);
            self.event(number, message.line());
        }
    }

    /// The request that progress is about, and the notification's params with the client's own token.
    pub(super) fn progress_of(&self, message: &Object<'_>) -> Option<(u64, Box<RawValue>)> {
        let mut params = message.object("params")?;
        let number: u64 = params.get("progressToken")?.get().parse().ok()?;
        params.set("progressToken", self.pending.get(&number)?.token.clone()?);
        Some((number, params.raw()))
    }

    /// The request or listener that a notification names as its subscription.
    pub(super) fn subscription(&self, message: &Object<'_>) -> Option<(u64, Box<RawValue>)> {
        let params = message.object("params")?;
        let number = params.object("_meta")?.get(era::SUBSCRIPTION_ID)?.get().parse().ok()?;
        self.pending.get(&number).map(|pending| (number, pending.id.clone()))
    }

    pub(super) fn event(&self, number: u64, line: String) {
        if let Some(events) = self.pending.get(&number).and_then(|pending| pending.events.as_ref()) {
            let _ = events.try_send(line);
        }
    }

    /// The newest request whose client takes events.
    pub(super) fn newest(&self) -> Option<&mpsc::Sender<String>> {
        self.pending.values().rev().find_map(|pending| pending.events.as_ref())
    }

    /// A notification of a session: on the stream it most likely belongs to, or kept until there is one.
    pub(super) fn tell(&mut self, line: String, unrelated: bool) {
        let stream = self.stream.as_ref().filter(|stream| !stream.is_closed());
        let first = if unrelated { stream.or_else(|| self.newest()) } else { self.newest().or(stream) };
        if let Some(to) = first {
            let _ = to.try_send(line);
        } else if self.backlog.len() < QUEUE {
            self.backlog.push_back(line);
        }
    }

    pub(super) fn ask(&self, line: String) -> bool {
        let stream = self.stream.as_ref().filter(|stream| !stream.is_closed());
        self.newest().or(stream).is_some_and(|to| to.try_send(line).is_ok())
    }

    /// A notification of a process that serves an agent: to its subscriptions, or to the one request in flight.
    pub(super) fn publish(&self, method: &str, message: &Object<'_>) {
        for listener in self.listeners.values() {
            listener.hear(method, message);
        }
        let mut pending = self.pending.values();
        if method == "notifications/message"
            && let (Some(only), None) = (pending.next(), pending.next())
            && let Some(events) = only.events.as_ref().filter(|_| only.shape.wants_logs())
        {
            let _ = events.try_send(message.line());
        }
    }
}
