//! The task itself.

mod check;
mod finish;
mod lists;
mod order;
mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countermark_identity::UnixTime;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::lists::{Listed, Undelivered};
use super::jobs::{Done, Job, Tools};
use super::orders::Order;
use super::queue::Queue;
use super::slot::{Opened, Slot};
use super::{Handle, Observe, Setup, StartError};
use crate::config::Config;
use crate::event::{Event, Told};
use crate::hook::Attempts;
use crate::issuer::{self, Listing};
use crate::machine::{Action, Input, Moment, TrustMark};
use crate::status::Status;

/// Many credentials, driven by one task.
pub struct Rotation {
    slots: BTreeMap<u64, Slot>,
    next_id: u64,
    queue: Queue,
    concurrency: usize,
    issuers: usize,
    tools: Tools,
    observers: Vec<Arc<dyn Observe>>,
    orders: mpsc::Receiver<Order>,
    begun: Instant,
    /// Wall minus monotonic time, in seconds, when everything was last planned.
    offset: i64,
    jobs: JoinSet<Vec<Done>>,
    /// What each of them is for.
    running: HashMap<task::Id, Job>,
    /// Renewals that wait for their turn: by rank, then by who asked first.
    waiting: BTreeSet<(usize, u64, u64)>,
    turn: u64,
    /// Which credentials are being renewed.
    renewing: BTreeSet<u64>,
    /// Hooks and probes that wait for their turn.
    chores: VecDeque<(u64, Action)>,
    chores_running: usize,
    /// Refreshes that wait for theirs: an issuer that is silent holds up no hook.
    refreshes: VecDeque<(u64, Refreshing)>,
    /// For whom one runs, and which trust material counted when it began: never two for one directory.
    refreshing: BTreeMap<u64, Option<TrustMark>>,
    /// The directories whose state is being written, and whether it must be once more: also for an entry that takes another's place.
    writing: BTreeMap<PathBuf, bool>,
    /// Lists that could not be delivered, and when they are tried again.
    undelivered: BTreeMap<u64, Undelivered>,
    retries: Queue,
    /// Those who follow the lists of issuers, and what they tell.
    followers: JoinSet<()>,
    listed: mpsc::Receiver<Listed>,
    /// Where the next look at files begins.
    look_from: u64,
    looking: bool,
    next_check: Duration,
}

impl Rotation {
    /// Claims every directory and looks at what is in it. Nothing is renewed before [`Rotation::run`].
    ///
    /// # Errors
    /// [`StartError`] for the first directory that cannot be claimed; no other is kept either.
    pub fn start(setup: Setup) -> Result<(Self, Handle), StartError> {
        let (orders, receiver) = mpsc::channel(64);
        let tools = Tools { stations: setup.stations, clock: setup.clock, attempts: Attempts::default() };
        let wall = tools.clock.now();
        let mut rotation = Self {
            slots: BTreeMap::new(),
            next_id: 0,
            queue: Queue::default(),
            concurrency: setup.config.concurrency,
            issuers: setup.config.issuers.len(),
            offset: offset(Moment { wall, mono: Duration::ZERO }),
            tools,
            observers: setup.observers,
            orders: receiver,
            begun: Instant::now(),
            jobs: JoinSet::new(),
            running: HashMap::new(),
            waiting: BTreeSet::new(),
            turn: 0,
            renewing: BTreeSet::new(),
            chores: VecDeque::new(),
            chores_running: 0,
            refreshes: VecDeque::new(),
            refreshing: BTreeMap::new(),
            writing: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            retries: Queue::default(),
            followers: JoinSet::new(),
            listed: mpsc::channel(1).1,
            look_from: 0,
            looking: false,
            next_check: Duration::ZERO,
        };
        let opened = open_all(&setup.config, wall)?;
        for opened in opened {
            rotation.admit(opened);
        }
        rotation.look_at_issuers();
        Ok((rotation, Handle { orders }))
    }

    /// Says which files of issuers cannot be used, before a renewal is due that would fail of them.
    fn look_at_issuers(&self) {
        let mut said = BTreeSet::new();
        for slot in self.slots.values() {
            for cause in issuer::faults(&slot.entry) {
                let issuer = slot.entry.issuer.name.clone();
                if said.insert((issuer.clone(), cause.clone())) {
                    self.say(Some(Arc::clone(&slot.entry.name)), Event::IssuerUnready { issuer, cause });
                }
            }
        }
    }

    /// Runs until `shutdown`; what is being written then is written to its end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.follow_lists();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.step() => {}
            }
        }
        self.wind_down().await;
    }

    /// Renews what is due, tries every hook and probe once, and ends.
    pub async fn once(mut self) -> Status {
        let before: BTreeMap<u64, u32> = self.slots.iter().map(|(id, slot)| (*id, slot.machine.failures())).collect();
        // Whatever is due starts with the first turn; a failure ends the attempt of that credential.
        self.turn();
        while !self.is_tried(&before) {
            self.step().await;
        }
        let status = self.status();
        self.wind_down().await;
        status
    }

    fn is_tried(&self, before: &BTreeMap<u64, u32>) -> bool {
        let now = self.now();
        self.slots.iter().all(|(id, slot)| {
            let failed = slot.machine.failures() > before.get(id).copied().unwrap_or_default();
            let fresh = slot.machine.renewal().is_some_and(|renewal| renewal > now.wall);
            let ended = failed || fresh || slot.machine.is_awaiting();
            !slot.machine.is_renewing() && ended && slot.machine.is_tried()
        })
    }

    /// Waits for the next thing to happen, and acts on it.
    async fn step(&mut self) {
        self.turn();
        let due = [self.queue.next(), self.retries.next()];
        let wake = due.into_iter().flatten().fold(self.next_check, Duration::min);
        tokio::select! {
            Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
            Some(order) = self.orders.recv() => self.obey(order),
            Some(listed) = self.listed.recv() => self.spread(listed),
            () = tokio::time::sleep_until(self.begun + wake) => {}
        }
    }

    /// Wakes whoever is due, and looks at the clocks and the files when it is time to.
    fn turn(&mut self) {
        let now = self.now();
        if now.mono >= self.next_check {
            self.check(now);
        }
        while let Some(id) = self.queue.pop(now.mono) {
            self.tell(id, Input::Woke);
        }
        self.retry_lists(now);
        self.start_renewals();
        self.start_chores();
        self.start_refreshes();
    }

    /// Takes a slot in, and tells it what was found.
    fn admit(&mut self, opened: Opened) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let name = Arc::clone(&opened.slot.entry.name);
        self.slots.insert(id, opened.slot);
        if let Some(event) = opened.told {
            self.say(Some(name), event);
        }
        self.tell(id, opened.found);
        id
    }

    fn tell_all(&mut self, input: &Input) {
        // In the order of the configuration, which is that of the dependencies.
        let mut ids: Vec<(usize, u64)> = self.slots.iter().map(|(id, slot)| (slot.entry.rank, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.tell(id, input.clone());
        }
    }

    /// Gives a machine its input and does what it says.
    fn tell(&mut self, id: u64, input: Input) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let actions = slot.machine.advance(input, now);
        let rank = slot.entry.rank;
        let name = Arc::clone(&slot.entry.name);
        for action in actions {
            match action {
                Action::Renew => {
                    self.turn += 1;
                    self.waiting.insert((rank, self.turn, id));
                }
                Action::Tell(event) => self.say(Some(Arc::clone(&name)), event),
                Action::Remember => self.remember(id),
                Action::Refresh => self.refreshes.push_back((id, Refreshing::All)),
                chore @ (Action::RunHook { .. } | Action::Probe { .. }) => self.chores.push_back((id, chore)),
            }
        }
        self.schedule(id, now);
    }

    fn schedule(&mut self, id: u64, now: Moment) {
        let Some(slot) = self.slots.get(&id) else { return };
        let (wall, mono) = slot.machine.wake(now);
        let wall = wall.map(|wall| now.mono + wall.duration_since(now.wall));
        self.queue.set(id, [wall, mono].into_iter().flatten().min(), slot.entry.rank);
    }

    fn say(&self, credential: Option<Arc<str>>, event: Event) {
        let told = Told { credential, event };
        for observer in &self.observers {
            observer.told(&told);
        }
    }

    fn now(&self) -> Moment {
        Moment { wall: self.tools.clock.now(), mono: self.begun.elapsed() }
    }

    /// Lets what runs come to its end, within a bound; no renewal is begun any more.
    async fn wind_down(mut self) {
        self.followers.abort_all();
        self.waiting.clear();
        self.chores.clear();
        self.refreshes.clear();
        let deadline = Instant::now() + WIND_DOWN;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.jobs.join_next_with_id()).await {
            self.ended(ended);
            self.waiting.clear();
        }
    }
}

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotation").field("credentials", &self.slots.len()).finish_non_exhaustive()
    }
}

/// What is refreshed.
enum Refreshing {
    /// Trust and window, from the issuer.
    All,
    /// The lists, which are these.
    Lists(Listing),
}

/// Opens every directory of a configuration.
fn open_all(config: &Config, now: UnixTime) -> Result<Vec<Opened>, StartError> {
    config.credentials.iter().map(|entry| Slot::open(Arc::clone(entry), None, now)).collect()
}

fn offset(now: Moment) -> i64 {
    let wall = i64::try_from(now.wall.as_secs()).unwrap_or(i64::MAX);
    wall.saturating_sub(i64::try_from(now.mono.as_secs()).unwrap_or(0))
}

const WIND_DOWN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
