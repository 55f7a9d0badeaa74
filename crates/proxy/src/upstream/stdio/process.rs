//! One process of a stdio server: its tasks, its desk, its end.

mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::streams::{Reading, log, read, write};
use super::child::{Pipes, Running};
use super::desk::{Ask, Desk, Exchange, Refused, Serves};
use super::era::{self, Shape};
use super::pool::Slot;
use super::user::User;
use crate::guard::{StdioLimits, StdioServer};
use crate::json::{Object, one_line, raw};

/// Lines that wait for the process to read them.
const QUEUE: usize = 64;
/// How often an idle process is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a notification may wait for the process to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running process. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    desk: Arc<Desk>,
    lines: mpsc::Sender<String>,
    end: CancellationToken,
    reaped: CancellationToken,
    asked_to_end: Arc<AtomicBool>,
}

/// Why a process could not be started or made to agree on a version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot start the stdio server: {0}")]
    Spawn(#[from] std::io::Error),
    #[error("the stdio server ended or was silent before it finished the handshake")]
    Handshake,
}

impl Process {
    /// Spawns the program and the tasks that carry its streams. `slot` is given back when it is reaped.
    pub(crate) fn start(
        server: &StdioServer,
        user: Option<User>,
        serves: Serves,
        slot: Slot,
    ) -> Result<Self, StartError> {
        let (running, pipes) = Running::spawn(server, user)?;
        let desk = Arc::new(Desk::new(serves, server.limits.in_flight));
        let (lines, queue) = mpsc::channel(QUEUE);
        let end = slot.over();
        let asked_to_end = Arc::new(AtomicBool::new(false));
        let pid = running.pid();
        tracing::info!(pid, command = %server.command.display(), "stdio server started");
        let Pipes { stdin, stdout, stderr } = pipes;
        tokio::spawn(write(stdin, queue, end.clone()));
        tokio::spawn(log(stderr, pid));
        tokio::spawn(read(
            stdout,
            Arc::clone(&desk),
            lines.clone(),
            Reading { end: end.clone(), line: server.limits.line },
        ));
        let reaped = CancellationToken::new();
        let keeper = Keeper { desk: Arc::clone(&desk), end: end.clone(), asked: Arc::clone(&asked_to_end), slot };
        tokio::spawn(keeper.keep(running, server.limits.clone(), reaped.clone().drop_guard()));
        Ok(Self { desk, lines, end, reaped, asked_to_end })
    }

    /// Who asked what of it.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Whether it has ended or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_cancelled() || self.desk.is_closed()
    }

    /// Asks it to end.
    pub(crate) fn end(&self) {
        self.asked_to_end.store(true, Ordering::Release);
        self.end.cancel();
    }

    /// Whether an end by itself is no failure.
    pub(crate) fn forgive(&self, forgiven: bool) {
        self.asked_to_end.store(forgiven, Ordering::Release);
    }

    /// Waits until it has ended and its slot is free.
    pub(crate) async fn reaped(&self) {
        self.reaped.cancelled().await;
    }

    /// Sends a request under a number of the desk's own.
    pub(crate) async fn request(&self, mut message: Object<'_>, ask: Ask) -> Result<Exchange, Refused> {
        let token = ask.token.is_some();
        let exchange = self.desk.admit(ask)?;
        message.set("id", raw(&exchange.number));
        if token {
            number_token(&mut message, exchange.number);
        }
        self.send(message.line()).await?;
        Ok(exchange)
    }

    /// Sends a request of guard's own and waits for its answer.
    pub(crate) async fn ask(&self, message: Object<'_>, patience: Duration) -> Option<String> {
        let ask = Ask { id: raw(&0), token: None, events: false, shape: Shape::AsIs { logs: false } };
        let mut exchange = self.request(message, ask).await.ok()?;
        timeout(patience, &mut exchange.answer).await.ok()?.ok()
    }

    /// Sends a message that has no answer.
    pub(crate) async fn tell(&self, json: &str) -> Result<(), Refused> {
        self.send(one_line(json)).await
    }

    /// Tells the process that nobody waits for an answer any more.
    pub(crate) fn cancel(&self, number: u64) {
        let _ = self.lines.try_send(cancelled(number));
    }

    /// A way to tell the process, later, that nobody waits for an answer any more.
    pub(crate) fn canceller(&self, number: u64) -> impl FnOnce() + Send + 'static {
        let lines = self.lines.downgrade();
        move || {
            if let Some(lines) = lines.upgrade() {
                let _ = lines.try_send(cancelled(number));
            }
        }
    }

    async fn send(&self, line: String) -> Result<(), Refused> {
        match timeout(PATIENCE, self.lines.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Refused::Ended),
            Err(_) => Err(Refused::Busy),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes the desk's number in place of the client's progress token.
fn number_token(message: &mut Object<'_>, number: u64) {
    let params = {
        let Some(mut params) = message.object("params") else { return };
        let meta = {
            let Some(mut meta) = params.object("_meta") else { return };
            meta.set("progressToken", raw(&number));
            meta.raw()
        };
        params.set("_meta", meta);
        params.raw()
    };
    message.set("params", params);
}

fn cancelled(number: u64) -> String {
    let mut params = Object::default();
    params.set("requestId", raw(&number));
    era::request("notifications/cancelled", &params).line()
}

/// The client's id in a `notifications/cancelled`.
pub(crate) fn cancelled_id(message: &Object<'_>) -> Option<Box<RawValue>> {
    message.object("params")?.get("requestId").map(ToOwned::to_owned)
}

/// Ends the process when it is time, and gives its slot back.
struct Keeper {
    desk: Arc<Desk>,
    end: CancellationToken,
    asked: Arc<AtomicBool>,
    slot: Slot,
}

impl Keeper {
    async fn keep(self, running: Running, limits: StdioLimits, reaped: DropGuard) {
        let born = Instant::now();
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.idle(limits.idle) => tracing::info!(pid = running.pid(), "the stdio server was idle and is ended"),
            () = too_old(born, limits.wall) => tracing::info!(pid = running.pid(), "the stdio server is older than it may be and is ended"),
        }
        let by_itself = self.end.is_cancelled() && !self.asked.load(Ordering::Acquire);
        self.end.cancel();
        self.desk.close();
        running.end().await;
        self.slot.ended(by_itself, born);
        drop(reaped);
    }

    async fn idle(&self, limit: Duration) {
        loop {
            let until = self.desk.last_used() + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }
}

async fn too_old(born: Instant, wall: Option<Duration>) {
    match wall {
        Some(wall) => sleep_until(born + wall).await,
        None => std::future::pending().await,
    }
}
