//! Which processes run, for whom, and how many there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustls::crypto::SecureRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::Serves;
use super::era::{self, ServerFacts};
use super::process::{Process, StartError};
use super::user::User;
use crate::guard::StdioServer;

/// A process that ended by itself within this time of its start has failed.
const WELL: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// How long all may take to end: longer than one is given to end by itself and, then, by SIGTERM.
const LAST_GRACE: Duration = Duration::from_secs(6);
/// How long a server may think about `server/discover` before it is taken for one of the older era.
const DISCOVER: Duration = Duration::from_secs(5);

/// All processes of one stdio server.
#[derive(Debug)]
pub(crate) struct Pool {
    server: StdioServer,
    user: Option<User>,
    random: &'static dyn SecureRandom,
    total: Arc<Semaphore>,
    stateless: OnceLock<bool>,
    table: Mutex<Table>,
    /// Cancelled when all processes are to end.
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<String, Session>,
    agents: HashMap<String, Arc<Agent>>,
}

#[derive(Debug)]
struct Session {
    agent: String,
    process: Arc<Process>,
}

/// What is remembered of one agent.
#[derive(Debug)]
struct Agent {
    slots: Arc<Semaphore>,
    backoff: Mutex<Backoff>,
    shared: tokio::sync::Mutex<Option<Arc<Shared>>>,
}

#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

/// The process of one agent's stateless requests.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) process: Process,
    /// What the server said of itself, if it is of the older era.
    pub(crate) older: Option<ServerFacts>,
}

/// The right to run one process; given back when it is reaped.
#[derive(Debug)]
pub(crate) struct Slot {
    agent: Arc<Agent>,
    over: CancellationToken,
    _total: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

/// Why no process serves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("as many processes run as may ({0})")]
    Total(usize),
    #[error("this agent runs as many processes as it may ({0}); end a session with DELETE")]
    PerAgent(usize),
    #[error("the stdio server failed; the next attempt is in {} s", .0.as_secs() + 1)]
    Backoff(Duration),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Pool {
    pub(crate) fn new(server: StdioServer, user: Option<User>, random: &'static dyn SecureRandom) -> Self {
        let total = Arc::new(Semaphore::new(server.limits.processes));
        Self {
            server,
            user,
            random,
            total,
            stateless: OnceLock::new(),
            table: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    pub(crate) fn server(&self) -> &StdioServer {
        &self.server
    }

    /// Starts a process for a session that is yet to be agreed on.
    pub(crate) fn start(&self, agent: &str) -> Result<Process, Unavailable> {
        let slot = self.slot(agent)?;
        Ok(Process::start(&self.server, self.user, Serves::Session, slot)?)
    }

    /// Opens a session at a process, and names it.
    pub(crate) fn open(&self, agent: &str, process: Process) -> Option<String> {
        let mut bytes = [0_u8; 16];
        self.random.fill(&mut bytes).ok()?;
        let name = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let session = Session { agent: agent.to_owned(), process: Arc::new(process) };
        let mut table = self.lock();
        table.sessions.retain(|_, session| !session.process.is_over());
        table.sessions.insert(name.clone(), session);
        Some(name)
    }

    /// The process of a session of this agent.
    pub(crate) fn session(&self, agent: &str, name: &str) -> Option<Arc<Process>> {
        let table = self.lock();
        let session =
            table.sessions.get(name).filter(|session| session.agent == agent && !session.process.is_over())?;
        Some(Arc::clone(&session.process))
    }

    /// Ends a session and its process.
    pub(crate) fn close(&self, agent: &str, name: &str) -> bool {
        let mut table = self.lock();
        let ours = table.sessions.get(name).is_some_and(|session| session.agent == agent);
        let session = if ours { table.sessions.remove(name) } else { None };
        session.inspect(|session| session.process.end()).is_some()
    }

    /// How many processes run.
    pub(crate) fn running(&self) -> usize {
        self.server.limits.processes.saturating_sub(self.total.available_permits())
    }

    /// Ends all processes, and waits until each is reaped or was given the time to end.
    pub(crate) async fn end(&self) {
        self.over.cancel();
        let all = u32::try_from(self.server.limits.processes).unwrap_or(u32::MAX);
        if timeout(LAST_GRACE, self.total.acquire_many(all)).await.is_err() {
            tracing::warn!(running = self.running(), "stdio servers have not ended; they are left behind");
        }
    }

    /// The process of an agent's stateless requests, started and agreed with if there is none.
    pub(crate) async fn shared(&self, name: &str) -> Result<Arc<Shared>, Unavailable> {
        let agent = self.agent(name);
        let mut shared = agent.shared.lock().await;
        if let Some(running) = shared.as_ref().filter(|shared| !shared.process.is_over()) {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(self.agree(name).await?);
        *shared = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Starts a process and learns its era: the newer is asked for first, on a process of its own, since
    /// servers of the older era may end when they hear what they do not know.
    async fn agree(&self, agent: &str) -> Result<Shared, Unavailable> {
        if self.stateless.get() != Some(&false) {
            let process = Process::start(&self.server, self.user, Serves::Agent, self.slot(agent)?)?;
            process.forgive(true);
            let patience = DISCOVER.min(self.server.limits.start);
            let answer = process.ask(era::discover(), patience).await;
            if answer.is_some_and(|answer| has_result(&answer)) {
                process.forgive(false);
                let _ = self.stateless.set(true);
                return Ok(Shared { process, older: None });
            }
            process.end();
            process.reaped().await;
        }
        let process = Process::start(&self.server, self.user, Serves::Agent, self.slot(agent)?)?;
        let answer = process.ask(era::initialize(), self.server.limits.start).await;
        let older = answer.as_deref().and_then(ServerFacts::parse).ok_or_else(|| {
            self.agent(agent).failed();
            StartError::Handshake
        })?;
        let _ = self.stateless.set(false);
        process.tell(era::INITIALIZED).await.map_err(|_| StartError::Handshake)?;
        Ok(Shared { process, older: Some(older) })
    }

    fn slot(&self, name: &str) -> Result<Slot, Unavailable> {
        let agent = self.agent(name);
        agent.ready()?;
        let Ok(own) = Arc::clone(&agent.slots).try_acquire_owned() else {
            self.end_idle_session(name);
            return Err(Unavailable::PerAgent(self.server.limits.processes_per_agent));
        };
        let total = Arc::clone(&self.total)
            .try_acquire_owned()
            .map_err(|_| Unavailable::Total(self.server.limits.processes))?;
        Ok(Slot { agent, over: self.over.clone(), _total: total, _own: own })
    }

    /// Makes room for the agent's next attempt: its session that was idle for longest ends.
    fn end_idle_session(&self, agent: &str) {
        let mut table = self.lock();
        let idle =
            table.sessions.iter().filter(|(_, session)| session.agent == agent && session.process.desk().is_idle());
        let oldest = idle.min_by_key(|(_, session)| session.process.desk().last_used()).map(|(name, _)| name.clone());
        if let Some(session) = oldest.and_then(|name| table.sessions.remove(&name)) {
            session.process.end();
        }
    }

    fn agent(&self, name: &str) -> Arc<Agent> {
        let most = self.server.limits.processes_per_agent;
        let mut table = self.lock();
        if let Some(agent) = table.agents.get(name) {
            return Arc::clone(agent);
        }
        table.agents.retain(|_, agent| !agent.is_forgettable(most));
        let agent = Arc::new(Agent {
            slots: Arc::new(Semaphore::new(most)),
            backoff: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        });
        table.agents.insert(name.to_owned(), Arc::clone(&agent));
        agent
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    fn ready(&self) -> Result<(), Unavailable> {
        let until = self.backoff().until;
        match until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()) {
            Some(left) => Err(Unavailable::Backoff(left)),
            None => Ok(()),
        }
    }

    fn failed(&self) {
        let mut backoff = self.backoff();
        let delay = FIRST_DELAY.saturating_mul(1 << backoff.failures.min(5)).min(LONGEST_DELAY);
        backoff.failures += 1;
        backoff.until = Some(Instant::now() + delay);
    }

    /// Nothing runs for it and nothing is held against it.
    fn is_forgettable(self: &Arc<Self>, most: usize) -> bool {
        Arc::strong_count(self) == 1 && self.slots.available_permits() == most && self.ready().is_ok()
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// A process's own token: cancelled to end it, and when all are to end.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.child_token()
    }

    /// The process is reaped; one that ended by itself soon after its start delays the next.
    pub(crate) fn ended(self, by_itself: bool, born: Instant) {
        if by_itself && born.elapsed() < WELL {
            self.agent.failed();
        } else if born.elapsed() >= WELL {
            *self.agent.backoff() = Backoff::default();
        }
    }
}

fn has_result(answer: &str) -> bool {
    crate::json::Object::parse(answer).is_ok_and(|answer| answer.has("result"))
}
