//! Comparing the clocks, and looking at the files.

use std::sync::Arc;
use std::time::Duration;

use super::{Rotation, offset};
use crate::event::Event;
use crate::machine::{Input, Moment};
use crate::run::jobs::{self, Job, Looking};
use crate::schedule::{self, Life};

impl Rotation {
    /// Compares the clocks, and looks at some of the directories.
    pub(super) fn check(&mut self, now: Moment) {
        let shortest = self.slots.values().filter_map(|slot| slot.machine.life()).map(Life::length).min();
        let every = schedule::check_every(shortest.unwrap_or(Duration::MAX));
        self.next_check = now.mono + every;
        let parted = offset(now) - self.offset;
        if parted.unsigned_abs() > JUMP {
            self.offset = offset(now);
            self.say(None, Event::ClockJumped { seconds: parted });
            self.tell_all(&Input::Replan);
        } else if parted.unsigned_abs() > DRIFT {
            // A clock that is being set slowly: nothing is lost, but what was planned by it is planned by it again.
            self.offset = offset(now);
            self.tell_all(&Input::Woke);
        }
        self.look(every);
    }

    /// Starts a look at so many directories that each is looked at every half minute.
    fn look(&mut self, every: Duration) {
        if self.looking || self.slots.is_empty() {
            return;
        }
        let rounds = (LOOK_EVERY.as_millis() / every.as_millis().max(1)).max(1);
        let count = self.slots.len().div_ceil(usize::try_from(rounds).unwrap_or(1));
        let after = self.slots.range(self.look_from..);
        let batch: Vec<_> = after
            .take(count)
            .filter(|(_, slot)| !slot.machine.is_renewing())
            .map(|(id, slot)| Looking {
                id: *id,
                entry: Arc::clone(&slot.entry),
                before: slot.seen.clone(),
                life: slot.machine.life().cloned(),
                trust: slot.machine.trust(),
            })
            .collect();
        self.look_from = match self.slots.range(self.look_from..).nth(count) {
            Some((next, _)) => *next,
            None => 0,
        };
        if !batch.is_empty() {
            self.looking = true;
            self.spawn(Job::Look, jobs::look(batch, self.now().wall));
        }
    }
}

/// The clocks may part by so many seconds before the machine slept or somebody set one.
const JUMP: u64 = 30;
/// By so many, what was planned is planned again.
const DRIFT: u64 = 2;
const LOOK_EVERY: Duration = Duration::from_secs(30);
