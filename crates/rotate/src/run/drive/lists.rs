//! Following the revocation lists of issuers, so that a revocation reaches every directory at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::IssuerError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Refreshing, Rotation};
use crate::config::{CredentialEntry, IssuerEntry};
use crate::event::Event;
use crate::issuer::{Listing, Lists};
use crate::machine::{Input, Moment};
use crate::renew::{Failure, present_of};
use crate::run::jobs::Tools;
use crate::schedule;

/// Lists that an issuer has published.
#[derive(Debug)]
pub(in crate::run) struct Listed {
    issuer: Arc<IssuerEntry>,
    listing: Listing,
}

impl Rotation {
    /// Follows the lists of every issuer that says when it has others; whom it followed before, no more.
    pub(super) fn follow_lists(&mut self) {
        let mut of: BTreeMap<&str, Vec<Arc<CredentialEntry>>> = BTreeMap::new();
        for slot in self.slots.values() {
            of.entry(&slot.entry.issuer.name).or_default().push(Arc::clone(&slot.entry));
        }
        let (sender, listed) = mpsc::channel(LISTED);
        let mut followers = JoinSet::new();
        for entries in of.into_values() {
            followers.spawn(follow(entries, self.tools.clone(), sender.clone()));
        }
        // Those of before end as they are dropped.
        (self.followers, self.listed) = (followers, listed);
    }

    /// Has lists delivered to every directory that is kept fresh from their issuer; older ones that still wait are not.
    pub(super) fn spread(&mut self, Listed { issuer, listing }: Listed) {
        let of_issuer = |slot: &crate::run::slot::Slot| slot.entry.issuer.name == issuer.name;
        let slots = &self.slots;
        self.refreshes.retain(|(id, what)| matches!(what, Refreshing::All) || !slots.get(id).is_some_and(of_issuer));
        let ids = slots.iter().filter(|(_, slot)| of_issuer(slot) && slot.machine.life().is_some());
        for (id, _) in ids {
            self.undelivered.remove(id);
            self.retries.set(*id, None, 0);
            self.refreshes.push_back((*id, Refreshing::Lists(listing.clone())));
        }
    }

    /// Tries again to deliver lists that could not be.
    pub(super) fn retry_lists(&mut self, now: Moment) {
        while let Some(id) = self.retries.pop(now.mono) {
            let Some((_, listing)) = self.undelivered.get(&id) else { continue };
            self.refreshes.push_back((id, Refreshing::Lists(listing.clone())));
        }
    }

    /// What is done once lists are delivered, or are not.
    pub(super) fn spread_to(
        &mut self,
        id: u64,
        result: Result<Option<u64>, Failure>,
        listing: Option<Listing>,
        began: Option<u64>,
    ) {
        let before = self.undelivered.remove(&id);
        // Newer ones that wait already are tried instead.
        let newer = self.refreshes.iter().any(|(other, what)| *other == id && matches!(what, Refreshing::Lists(_)));
        if let (Some(listing), Some(slot), false) = (listing, self.slots.get(&id), newer) {
            let failures = before.map_or(0, |(failures, _)| failures).saturating_add(1);
            let seed = schedule::seed(slot.entry.identity.to_string().as_bytes());
            let due = self.now().mono + schedule::retry_after(failures, seed, FAR);
            self.retries.set(id, Some(due), slot.entry.rank);
            self.undelivered.insert(id, (failures, listing));
        }
        match result {
            Ok(version) => self.trust_is(id, self.newer(id, version, began)),
            Err(Failure { step, cause, trust, .. }) => {
                self.trust_is(id, self.newer(id, trust, began));
                let name = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry.name));
                self.say(name, Event::RefreshFailed { step, cause });
            }
        }
    }

    /// The version that a refresh has read, unless a renewal that ended while it ran has read a later one.
    pub(in crate::run) fn newer(&self, id: u64, version: Option<u64>, began: Option<u64>) -> Option<u64> {
        let counts = self.slots.get(&id).and_then(|slot| slot.machine.trust());
        version.filter(|version| counts == began || counts.is_none_or(|counts| *version > counts))
    }

    /// Carries other trust material than the hooks have seen further, by those that have to do with it.
    pub(super) fn trust_is(&mut self, id: u64, version: Option<u64>) {
        let Some(slot) = self.slots.get(&id) else { return };
        let Some(version) = version.filter(|version| slot.machine.trust() != Some(*version)) else { return };
        let (hooks, name) = (slot.hooks_of_trust(), Arc::clone(&slot.entry.name));
        self.say(Some(name), Event::TrustMoved);
        self.tell(id, Input::TrustMoved { version, hooks });
    }
}

/// Tells the lists of an issuer as they change, for ever: as whichever of these credentials can ask.
async fn follow(entries: Vec<Arc<CredentialEntry>>, tools: Tools, out: mpsc::Sender<Listed>) {
    let (mut failures, mut told) = (0, None);
    for entry in entries.iter().cycle() {
        let seed = schedule::seed(entry.identity.to_string().as_bytes());
        match lists(entry, &tools).await {
            Ok(None) => return,
            Ok(Some(mut lists)) => loop {
                match lists.next().await {
                    Ok(Some(listing)) => {
                        let polled = listing.polled;
                        if tell(&mut told, &entry.issuer, listing, &out).await.is_err() {
                            return;
                        }
                        if polled {
                            failures = 0;
                        } else {
                            // The poll is refused, and whoever answers beside it may answer otherwise each time.
                            failures += 1;
                            tokio::time::sleep(schedule::retry_after(failures, seed, FAR)).await;
                        }
                    }
                    Ok(None) => failures = 0,
                    Err(error) => {
                        tracing::debug!(issuer = entry.issuer.name, %error, "the revocation lists are not followed");
                        break;
                    }
                }
            },
            Err(error) => {
                tracing::debug!(credential = %entry.name, %error, "the revocation lists are not followed as this credential");
            }
        }
        failures += 1;
        tokio::time::sleep(schedule::retry_after(failures, seed, FAR)).await;
    }
}

/// Tells lists that say more than those that were told last.
async fn tell(
    told: &mut Option<Listing>,
    issuer: &Arc<IssuerEntry>,
    listing: Listing,
    out: &mpsc::Sender<Listed>,
) -> Result<(), mpsc::error::SendError<Listed>> {
    if told.as_ref().is_some_and(|told| listing.is_no_more_than(told)) {
        return Ok(());
    }
    *told = Some(listing.clone());
    out.send(Listed { issuer: Arc::clone(issuer), listing }).await
}

async fn lists(entry: &Arc<CredentialEntry>, tools: &Tools) -> Result<Option<Box<dyn Lists>>, IssuerError> {
    let present = present_of(entry).await?;
    tools.stations.lists(entry, &present, tools.clock.now()).await
}

/// Lists that wait to be spread.
const LISTED: usize = 16;
const FAR: Duration = Duration::from_secs(365 * 86_400);
