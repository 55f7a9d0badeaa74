//! Orders, and what is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use countermark_credential::Credential;
use tokio::sync::{oneshot, watch};

use super::Rotation;
use crate::config::Config;
use crate::event::Event;
use crate::machine::Input;
use crate::renew;
use crate::run::StartError;
use crate::run::orders::Order;
use crate::run::slot::{Opened, Slot};
use crate::status::{CredentialStatus, Status};

impl Rotation {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Status(answer) => reply(answer, self.status()),
            Order::Credential { name, answer } => reply(answer, self.credential(&name)),
            Order::Watch { name, answer } => reply(answer, self.watch(&name)),
            Order::Refuse { cause } => self.say(None, Event::ConfigRefused { cause }),
            Order::Reload { config, answer } => {
                let reloaded = self.reload(&config);
                if let Err(error) = &reloaded {
                    self.say(None, Event::ConfigRefused { cause: error.to_string() });
                }
                reply(answer, reloaded);
            }
            Order::Renew { name, answer } => {
                let id = self.find(&name);
                if let Some(id) = id {
                    self.tell(id, Input::Asked);
                }
                reply(answer, id.is_some());
            }
        }
    }

    pub(super) fn status(&self) -> Status {
        let now = self.now();
        Status::new(self.slots.values().map(|slot| CredentialStatus::of(&slot.entry, &slot.machine, now)).collect())
    }

    fn credential(&self, name: &str) -> Option<CredentialStatus> {
        let slot = self.slots.get(&self.find(name)?)?;
        Some(CredentialStatus::of(&slot.entry, &slot.machine, self.now()))
    }

    fn watch(&mut self, name: &str) -> Option<watch::Receiver<Arc<Credential>>> {
        let (id, now) = (self.find(name)?, self.now().wall);
        let slot = self.slots.get_mut(&id)?;
        if slot.published.is_none() {
            let held = renew::good(&slot.entry, now).ok()?;
            slot.published = Some(watch::Sender::new(held));
        }
        slot.published.as_ref().map(watch::Sender::subscribe)
    }

    fn find(&self, name: &str) -> Option<u64> {
        self.slots.iter().find(|(_, slot)| &*slot.entry.name == name).map(|(id, _)| *id)
    }

    /// Goes by another configuration, or by none of it.
    fn reload(&mut self, config: &Config) -> Result<(), StartError> {
        let now = self.now();
        let mut old: BTreeMap<Arc<str>, u64> =
            self.slots.iter().map(|(id, slot)| (Arc::clone(&slot.entry.name), *id)).collect();
        let by_directory: BTreeMap<_, _> =
            self.slots.values().map(|slot| (slot.entry.directory.clone(), slot.claim())).collect();
        let (mut kept, mut changed) = (0, Vec::new());
        let mut opened: Vec<Opened> = Vec::new();
        for entry in &config.credentials {
            let id = old.remove(&entry.name);
            if id.and_then(|id| self.slots.get(&id)).is_some_and(|slot| slot.entry == *entry) {
                kept += 1;
                continue;
            }
            changed.extend(id);
            // A directory that stays claimed is not let go of in between.
            let claim = by_directory.get(&entry.directory).map(Arc::clone);
            opened.push(Slot::open(Arc::clone(entry), claim, now.wall)?);
        }
        let (added, changed_count, removed) = (opened.len() - changed.len(), changed.len(), old.len());
        for id in changed.into_iter().chain(old.into_values()) {
            self.forget(id);
        }
        (self.concurrency, self.issuers) = (config.concurrency, config.issuers.len());
        for opened in opened {
            self.admit(opened);
        }
        self.follow_lists();
        self.look_at_issuers();
        self.say(None, Event::ConfigReloaded { added, changed: changed_count, removed, kept });
        Ok(())
    }

    /// Lets go of a credential with all that waits for it.
    fn forget(&mut self, id: u64) {
        self.slots.remove(&id);
        self.queue.set(id, None, 0);
        self.forget_lists(id);
        self.waiting.retain(|(_, _, waiting)| *waiting != id);
        self.chores.retain(|(waiting, _)| *waiting != id);
        self.refreshes.retain(|(waiting, _)| *waiting != id);
    }
}

/// Whoever asked and no longer listens needs no answer.
fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    let _unheard = answer.send(value);
}
