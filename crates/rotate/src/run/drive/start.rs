//! Starting jobs: renewals in their order, chores as they come, one write of a state after another.

use std::sync::Arc;

use super::Rotation;
use crate::config::CredentialEntry;
use crate::machine::Action;
use crate::run::jobs::{self, Done, Job, Kind};

impl Rotation {
    /// Starts renewals in their order, as many as may run. None runs beside one that it depends on.
    pub(super) fn start_renewals(&mut self) {
        while self.renewing.values().sum::<usize>() < self.concurrency {
            let Some((rank, turn, id)) = self.waiting.first().copied() else { return };
            if self.renewing.keys().next().is_some_and(|running| *running < rank) {
                return;
            }
            self.waiting.remove(&(rank, turn, id));
            let Some(slot) = self.slots.get(&id) else { continue };
            *self.renewing.entry(rank).or_default() += 1;
            let entry = Arc::clone(&slot.entry);
            let job = jobs::renew(id, Arc::clone(&entry), self.tools.clone());
            self.spawn_one(id, entry, Kind::Renew, job);
        }
    }

    pub(super) fn start_chores(&mut self) {
        while self.chores_running < CHORES {
            let Some((id, chore)) = self.chores.pop_front() else { return };
            let Some(slot) = self.slots.get(&id) else { continue };
            let entry = Arc::clone(&slot.entry);
            self.chores_running += 1;
            match chore {
                Action::RunHook { hook, generation } => {
                    let job = jobs::hook(id, Arc::clone(&entry), hook, generation);
                    self.spawn_one(id, entry, Kind::Hook { hook, generation }, job);
                }
                Action::Probe { generation } => {
                    let job = jobs::probe(id, Arc::clone(&entry), generation);
                    self.spawn_one(id, entry, Kind::Probe { generation }, job);
                }
                _ => {
                    let job = jobs::refresh(id, Arc::clone(&entry), self.tools.clone());
                    self.spawn_one(id, entry, Kind::Refresh, job);
                }
            }
        }
    }

    /// Writes the state of a slot, one write after another.
    pub(super) fn remember(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.writing {
            slot.dirty = true;
            return;
        }
        (slot.writing, slot.dirty) = (true, false);
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

/// Hooks, probes and refreshes at one time.
const CHORES: usize = 32;
