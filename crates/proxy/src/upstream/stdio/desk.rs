//! Who asked what of one process, and where its words go.
//!
//! Ids and progress tokens are the desk's own inside the process, so that two connections that chose the same ones never swap answers.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::table::{Pending, Table};
use super::era::{Listener, Shape};
use crate::answer;
use crate::json::{Object, raw};

/// Messages that wait for a reader, at most.
const QUEUE: usize = 64;

/// Whose process it is, which decides where unasked words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// One session of the older era: its client can be asked things and has a GET stream.
    Session,
    /// All requests of one agent of the stateless era: nobody can be asked.
    Agent,
}

/// The table of one process.
#[derive(Debug)]
pub(crate) struct Desk {
    serves: Serves,
    limit: usize,
    table: Mutex<Table>,
}

/// What a request asks of the desk.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The client's id, as it wrote it.
    pub(crate) id: Box<RawValue>,
    /// The client's progress token, as it wrote it.
    pub(crate) token: Option<Box<RawValue>>,
    /// Whether the client takes an event stream.
    pub(crate) events: bool,
    /// What the answer becomes on its way out.
    pub(crate) shape: Shape,
}

/// A request in flight; dropping it forgets the request.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The id inside the process.
    pub(crate) number: u64,
    /// What comes before the answer.
    pub(crate) events: mpsc::Receiver<String>,
    /// The answer; an error when the process ended.
    pub(crate) answer: oneshot::Receiver<String>,
    desk: Arc<Desk>,
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many are in flight as may be.
    Busy,
    /// The process has ended.
    Ended,
}

impl Desk {
    pub(crate) fn new(serves: Serves, limit: usize) -> Self {
        Self { serves, limit, table: Mutex::new(Table::new()) }
    }

    /// Takes a request and says under which number the process is to see it.
    pub(crate) fn admit(self: &Arc<Self>, ask: Ask) -> Result<Exchange, Refused> {
        let (events, receiver) = mpsc::channel(QUEUE);
        let (answer, answered) = oneshot::channel();
        let mut table = self.open()?;
        let number = table.number();
        let events = ask.events.then_some(events);
        table.pending.insert(number, Pending { id: ask.id, token: ask.token, shape: ask.shape, events, answer });
        Ok(Exchange { number, events: receiver, answer: answered, desk: Arc::clone(self) })
    }

    /// Takes a listener that hears what the process says unasked.
    pub(crate) fn listen(
        self: &Arc<Self>,
        make: impl FnOnce(mpsc::Sender<String>) -> Listener,
    ) -> Result<Exchange, Refused> {
        let (events, receiver) = mpsc::channel(QUEUE);
        let mut table = self.open()?;
        let number = table.number();
        let mut listener = make(events);
        let (answer, answered) = oneshot::channel();
        listener.alive = Some(answer);
        table.listeners.insert(number, listener);
        Ok(Exchange { number, events: receiver, answer: answered, desk: Arc::clone(self) })
    }

    /// Attaches the session's GET stream, which replaces an older one and hears first what waited.
    pub(crate) fn attach(&self) -> Option<mpsc::Receiver<String>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut table = self.open().ok()?;
        while let Some(line) = table.backlog.pop_front() {
            if sender.try_send(line).is_err() {
                break;
            }
        }
        table.stream = Some(sender);
        Some(receiver)
    }

    /// The number of the one request that the client knows by `id`.
    pub(crate) fn number_of(&self, id: &RawValue) -> Option<u64> {
        let table = self.lock();
        let mut found = table.pending.iter().filter(|(_, pending)| pending.id.get() == id.get());
        let (number, _) = found.next()?;
        found.next().is_none().then_some(*number)
    }

    /// Takes a line of the process; what is returned goes back to it.
    pub(crate) fn dispatch(&self, line: &str) -> Option<String> {
        let Ok(message) = Object::parse(line) else {
            tracing::warn!(
                bytes = line.len(),
                "the stdio server wrote a line that is not a JSON-RPC message; its logs belong on stderr"
            );
            return None;
        };
        let method = message.text("method").map(std::borrow::Cow::into_owned);
        match (method, message.get("id").map(ToOwned::to_owned)) {
            (None, Some(id)) => self.answered(&id, message),
            (Some(method), None) => self.notified(&method, message),
            (Some(method), Some(id)) => return self.asked(&method, &id, &message),
            (None, None) => {}
        }
        None
    }

    /// When something was last asked; now while something is in flight or a stream is open.
    pub(crate) fn last_used(&self) -> Instant {
        let table = self.lock();
        let streaming = table.stream.as_ref().is_some_and(|stream| !stream.is_closed());
        if table.pending.is_empty() && table.listeners.is_empty() && !streaming { table.used } else { Instant::now() }
    }

    /// Nothing is in flight and nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        let table = self.lock();
        table.pending.is_empty()
            && table.listeners.is_empty()
            && table.stream.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Ends everything in flight: the process is gone.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.pending.clear();
        table.listeners.clear();
        table.stream = None;
        table.backlog.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn answered(&self, id: &RawValue, mut message: Object<'_>) {
        let pending = id.get().parse().ok().and_then(|number: u64| self.lock().pending.remove(&number));
        let Some(pending) = pending else {
            tracing::debug!("the stdio server answered what nobody asked, or asks no more");
            return;
        };
        message.set("id", pending.id.clone());
        pending.shape.apply(&mut message, &pending.id);
        let _ = pending.answer.send(message.line());
    }

    fn notified(&self, method: &str, mut message: Object<'_>) {
        let mut table = self.lock();
        if method == "notifications/progress" {
            return table.progress(&mut message);
        }
        if let Some((number, id)) = table.subscription(&message) {
            super::era::name_subscription(&mut message, &id);
            table.event(number, message.line());
            return;
        }
        match self.serves {
            Serves::Session => {
                table.tell(message.line(), method.ends_with("list_changed") || method.ends_with("/updated"))
            }
            Serves::Agent => table.publish(method, &message),
        }
    }

    /// A request of the process: to the session's client, if there is one that can be asked.
    fn asked(&self, method: &str, id: &RawValue, message: &Object<'_>) -> Option<String> {
        if method == "ping" {
            return Some(pong(id));
        }
        if self.serves == Serves::Session && self.lock().ask(message.line()) {
            return None;
        }
        Some(answer::error_line(Some(id), answer::NO_METHOD, "the client cannot be asked here"))
    }

    fn open(&self) -> Result<MutexGuard<'_, Table>, Refused> {
        let mut table = self.lock();
        if table.closed {
            return Err(Refused::Ended);
        }
        if table.pending.len() + table.listeners.len() >= self.limit {
            return Err(Refused::Busy);
        }
        table.used = Instant::now();
        Ok(table)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut table = self.desk.lock();
        table.pending.remove(&self.number);
        table.listeners.remove(&self.number);
        table.used = Instant::now();
    }
}

fn pong(id: &RawValue) -> String {
    let mut answer = Object::default();
    answer.set("jsonrpc", raw("2.0"));
    answer.set("id", id.to_owned());
    answer.set("result", Object::default().raw());
    answer.line()
}
