//! What is done with what has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError};

use super::Rotation;
use crate::config::CredentialEntry;
use crate::event::{Event, Step};
use crate::machine::{Input, TrustMark};
use crate::renew::{Failure, Refreshed, Renewed};
use crate::run::jobs::{Done, Job, Looked, What};
use crate::run::look::Fingerprint;
use crate::run::slot::Slot;
use crate::schedule;

impl Rotation {
    /// What is done when a job ends, however it ended.
    pub(super) fn ended(&mut self, ended: Result<(task::Id, Vec<Done>), JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => (error.id(), None),
        };
        let Some(job) = self.running.remove(&id) else { return };
        if matches!(job, Job::Look) {
            self.looking = false;
        }
        for done in done.unwrap_or_else(|| job.broken().into_iter().collect()) {
            self.finish(done);
        }
    }

    fn finish(&mut self, done: Done) {
        let Done { id, entry, what } = done;
        match &what {
            What::Renewed { .. } => {
                self.renewing.remove(&id);
            }
            What::Hooked { .. } | What::Probed { .. } => {
                self.chores_running = self.chores_running.saturating_sub(1);
            }
            What::Refreshed(_) | What::Listed { .. } | What::Looked(_) | What::Remembered(_) => {}
        }
        // What a refresh began with.
        let refreshes = matches!(what, What::Refreshed(_) | What::Listed { .. });
        let began = if refreshes { self.refreshing.remove(&id).flatten() } else { None };
        let current = self.slots.get(&id).is_some_and(|slot| Arc::ptr_eq(&slot.entry, &entry));
        match what {
            What::Renewed { result, seen } if current => self.renewed(id, result, seen),
            What::Hooked { hook, generation, result } if current => {
                self.tell(id, Input::Hooked { hook, generation, result });
            }
            What::Probed { generation, result } if current => self.tell(id, Input::Probed { generation, result }),
            What::Refreshed(result) if current => self.refreshed(id, result, began),
            What::Listed { result, listing } if current => self.spread_to(id, result, listing, began),
            What::Looked(looked) if current => self.looked(id, looked),
            What::Remembered(result) => self.remembered(&entry, result),
            _ => {}
        }
    }

    fn renewed(&mut self, id: u64, result: Result<Renewed, Failure>, seen: Fingerprint) {
        let input = match result {
            Ok(renewed) => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.seen = seen;
                    if let Some(published) = slot.published.as_ref().filter(|published| !published.is_closed()) {
                        published.send_replace(renewed.credential);
                    } else {
                        slot.published = None;
                    }
                }
                let Renewed { life, generation, trust, .. } = renewed;
                // The clocks are compared as often as this life wants it, the first one, too.
                let check = self.now().mono + schedule::check_every(life.length());
                self.next_check = self.next_check.min(check);
                Input::Delivered { life, generation, trust }
            }
            Err(Failure { pending: true, cause, after, .. }) => Input::Accepted { cause, after },
            Err(Failure { step, cause, after, trust, .. }) => {
                self.trust_is(id, trust);
                Input::Failed { step, cause, after }
            }
        };
        self.tell(id, input);
    }

    fn refreshed(&mut self, id: u64, result: Result<Refreshed, Failure>, began: Option<TrustMark>) {
        let input = match result {
            Ok(Refreshed { window, mut again, trust, fault }) => {
                self.trust_is(id, self.newer(id, trust, began));
                if let Some(cause) = fault {
                    let name = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry.name));
                    self.say(name, Event::RefreshFailed { step: Step::Issue, cause });
                    again = again.max(REFRESH_AGAIN);
                }
                Input::Windowed { window, again }
            }
            Err(Failure { step, cause, after, trust, .. }) => {
                self.trust_is(id, self.newer(id, trust, began));
                let name = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry.name));
                self.say(name, Event::RefreshFailed { step, cause });
                Input::Windowed { window: None, again: after.unwrap_or_default().max(REFRESH_AGAIN) }
            }
        };
        self.tell(id, input);
    }

    fn looked(&mut self, id: u64, Looked { seen, found, held, began }: Looked) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.machine.is_renewing()) else { return };
        let trust = seen.trust();
        slot.seen = seen;
        if let (Some(published), Some(held)) = (&slot.published, held) {
            published.send_replace(held);
        }
        self.tell(id, found);
        // Somebody else may have delivered another or edited this one, of which nobody is told otherwise.
        self.trust_is(id, self.newer(id, trust, began));
    }

    fn remembered(&mut self, entry: &CredentialEntry, result: Result<(), String>) {
        let again = self.writing.remove(&entry.directory).unwrap_or_default();
        if let Err(cause) = result {
            self.say(Some(Arc::clone(&entry.name)), Event::StateFailed { cause });
        }
        let of_directory = |(_, slot): &(&u64, &Slot)| slot.entry.directory == entry.directory;
        if again && let Some(id) = self.slots.iter().find(of_directory).map(|(id, _)| *id) {
            self.remember(id);
        }
    }
}

/// After a refresh that failed; the credential itself is in no danger.
const REFRESH_AGAIN: Duration = Duration::from_secs(300);
