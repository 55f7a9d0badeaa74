//! Starting jobs: renewals in their order, chores as they come, one write of a state after another.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Refreshing, Rotation};
use crate::config::CredentialEntry;
use crate::machine::Action;
use crate::run::jobs::{self, Done, Job, Kind};

impl Rotation {
    /// Starts renewals in their order, as many as may run. None runs before or beside one that it depends on, and while several
    /// issuers are asked, none of them holds all the places.
    pub(super) fn start_renewals(&mut self) {
        for (rank, turn, id) in self.next_renewals() {
            self.waiting.remove(&(rank, turn, id));
            let Some(slot) = self.slots.get(&id) else { continue };
            self.renewing.insert(id);
            let entry = Arc::clone(&slot.entry);
            let job = jobs::renew(id, Arc::clone(&entry), self.tools.clone());
            self.spawn_one(id, entry, Kind::Renew, job);
        }
    }

    /// Those that wait and may begin now.
    fn next_renewals(&self) -> Vec<(usize, u64, u64)> {
        let free = self.concurrency.saturating_sub(self.renewing.len());
        if free == 0 || self.waiting.is_empty() {
            return Vec::new();
        }
        let entry = |id: &u64| self.slots.get(id).map(|slot| &slot.entry);
        let share = if self.issuers > 1 { (self.concurrency * 3 / 4).max(1) } else { self.concurrency };
        let mut held: HashMap<&str, usize> = HashMap::new();
        for entry in self.renewing.iter().filter_map(entry) {
            *held.entry(&entry.issuer.name).or_default() += 1;
        }
        let unfinished: LazyCell<HashSet<&str>, _> = LazyCell::new(|| {
            let waiting = self.waiting.iter().map(|(_, _, id)| id);
            self.renewing.iter().chain(waiting).filter_map(|id| Some(&*entry(id)?.name)).collect()
        });
        let mut may_begin = |(_, _, id): &&(usize, u64, u64)| {
            let Some(entry) = entry(id) else { return true };
            let places = held.entry(&entry.issuer.name).or_default();
            let begins = *places < share && !entry.after.iter().any(|before| unfinished.contains(&**before));
            *places += usize::from(begins);
            begins
        };
        self.waiting.iter().filter(&mut may_begin).take(free).copied().collect()
    }

    pub(super) fn start_chores(&mut self) {
        while self.chores_running < CHORES {
            let Some((id, chore)) = self.chores.pop_front() else { return };
            let Some(slot) = self.slots.get(&id) else { continue };
            let entry = Arc::clone(&slot.entry);
            self.chores_running += 1;
            match chore {
                Action::RunHook { hook, generation } => {
                    let job = jobs::hook(id, Arc::clone(&entry), hook, generation, self.tools.attempts.clone());
                    self.spawn_one(id, entry, Kind::Hook { hook, generation }, job);
                }
                Action::Probe { generation } => {
                    let job = jobs::probe(id, Arc::clone(&entry), generation);
                    self.spawn_one(id, entry, Kind::Probe { generation }, job);
                }
                _ => self.chores_running -= 1,
            }
        }
    }

    pub(super) fn start_refreshes(&mut self) {
        while self.refreshing.len() < REFRESHES {
            // What waits for another of the same directory waits on.
            let next = self.refreshes.iter().position(|(id, _)| !self.refreshing.contains_key(id));
            let Some((id, what)) = next.and_then(|next| self.refreshes.remove(next)) else { return };
            let Some(slot) = self.slots.get(&id) else { continue };
            let entry = Arc::clone(&slot.entry);
            self.refreshing.insert(id, slot.machine.trust());
            match what {
                Refreshing::All => {
                    let job = jobs::refresh(id, Arc::clone(&entry), self.tools.clone());
                    self.spawn_one(id, entry, Kind::Refresh, job);
                }
                Refreshing::Lists(listing) => {
                    let job = jobs::lists(id, Arc::clone(&entry), listing, self.tools.clone());
                    self.spawn_one(id, entry, Kind::Lists, job);
                }
            }
        }
    }

    /// Writes the state of a slot, one write of a directory after another.
    pub(super) fn remember(&mut self, id: u64) {
        let Some(slot) = self.slots.get(&id) else { return };
        if let Some(again) = self.writing.get_mut(&slot.entry.directory) {
            *again = true;
            return;
        }
        self.writing.insert(slot.entry.directory.clone(), false);
        let entry = Arc::clone(&slot.entry);
        let job = jobs::remember(id, Arc::clone(&entry), slot.machine.memory(), slot.hooks);
        self.spawn_one(id, entry, Kind::Remember, job);
    }

    fn spawn_one(
        &mut self,
        id: u64,
        entry: Arc<CredentialEntry>,
        kind: Kind,
        job: impl Future<Output = Done> + Send + 'static,
    ) {
        self.spawn(Job::Of { id, entry, kind }, async { vec![job.await] });
    }

    pub(super) fn spawn(&mut self, what: Job, job: impl Future<Output = Vec<Done>> + Send + 'static) {
        let id = self.jobs.spawn(job).id();
        self.running.insert(id, what);
    }
}

/// Hooks and probes at one time.
const CHORES: usize = 32;
/// Refreshes at one time.
const REFRESHES: usize = 32;
