//! Following the revocation lists of issuers, so that a revocation reaches every directory at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use countermark_credential::IssuerError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Refreshing, Rotation};
use crate::config::{CredentialEntry, IssuerEntry};
use crate::event::{Event, Step};
use crate::issuer::{Listing, Lists};
use crate::machine::{Input, Moment, TrustMark};
use crate::renew::{Failure, present_of};
use crate::run::jobs::Tools;
use crate::schedule::{self, FAR};

/// Lists that an issuer has published.
#[derive(Debug)]
pub(in crate::run) struct Listed {
    issuer: Arc<IssuerEntry>,
    listing: Listing,
}

/// Lists that could not be delivered to a directory, and how often.
#[derive(Debug, Default)]
pub(super) struct Undelivered {
    failures: u32,
    /// Those of the issuer itself, if there are any; then those that whoever answers gave.
    listings: Vec<Listing>,
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

    /// Has lists delivered to every directory that is kept fresh from their issuer, in the place of those that they displace.
    pub(super) fn spread(&mut self, Listed { issuer, listing }: Listed) {
        let of_issuer = |slot: &crate::run::slot::Slot| slot.entry.issuer.name == issuer.name;
        let slots = &self.slots;
        self.refreshes.retain(|(id, what)| match what {
            Refreshing::Lists(waiting) => !listing.displaces(waiting) || !slots.get(id).is_some_and(of_issuer),
            Refreshing::All => true,
        });
        let ids = slots.iter().filter(|(_, slot)| of_issuer(slot) && slot.machine.life().is_some());
        let ids: Vec<u64> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.displace(id, &listing);
            self.refreshes.push_back((id, Refreshing::Lists(listing.clone())));
        }
    }

    /// Tries those lists no more that others displace. Says how often they could not be delivered.
    fn displace(&mut self, id: u64, listing: &Listing) -> u32 {
        let Some(mut undelivered) = self.undelivered.remove(&id) else { return 0 };
        undelivered.listings.retain(|waiting| !listing.displaces(waiting));
        let failures = undelivered.failures;
        if undelivered.listings.is_empty() {
            self.retries.set(id, None, 0);
        } else {
            self.undelivered.insert(id, undelivered);
        }
        failures
    }

    /// Tries no lists again.
    pub(super) fn forget_lists(&mut self, id: u64) {
        self.undelivered.remove(&id);
        self.retries.set(id, None, 0);
    }

    /// Tries again to deliver lists that could not be.
    pub(super) fn retry_lists(&mut self, now: Moment) {
        while let Some(id) = self.retries.pop(now.mono) {
            let Some(Undelivered { listings, .. }) = self.undelivered.get(&id) else { continue };
            for listing in listings {
                let waits = |(other, what): &(u64, Refreshing)| match what {
                    Refreshing::Lists(waiting) => *other == id && waiting.verified == listing.verified,
                    Refreshing::All => false,
                };
                if !self.refreshes.iter().any(waits) {
                    self.refreshes.push_back((id, Refreshing::Lists(listing.clone())));
                }
            }
        }
    }

    /// What is done once lists are delivered, or are not.
    pub(super) fn spread_to(
        &mut self,
        id: u64,
        result: Result<Option<TrustMark>, Failure>,
        listing: Option<Listing>,
        began: Option<TrustMark>,
    ) {
        match listing {
            Some(listing) => {
                let failures = self.displace(id, &listing);
                // What does not hold is no better the next time.
                if result.as_ref().is_err_and(|failure| failure.step != Step::Verify) {
                    self.try_again(id, listing, failures.saturating_add(1));
                }
            }
            None => self.forget_lists(id),
        }
        match result {
            Ok(trust) => self.trust_is(id, self.newer(id, trust, began)),
            Err(Failure { step, cause, trust, .. }) => {
                self.trust_is(id, self.newer(id, trust, began));
                let name = self.slots.get(&id).map(|slot| Arc::clone(&slot.entry.name));
                self.say(name, Event::RefreshFailed { step, cause });
            }
        }
    }

    /// Lets lists wait that could not be delivered, unless others that displace them wait already.
    fn try_again(&mut self, id: u64, listing: Listing, failures: u32) {
        let waits = |(other, what): &(u64, Refreshing)| match what {
            Refreshing::Lists(waiting) => *other == id && waiting.displaces(&listing),
            Refreshing::All => false,
        };
        let Some(slot) = self.slots.get(&id).filter(|_| !self.refreshes.iter().any(waits)) else { return };
        let seed = schedule::seed(slot.entry.identity.to_string().as_bytes());
        let due = self.now().mono + schedule::retry_after(failures, seed, FAR);
        self.retries.set(id, Some(due), slot.entry.rank);
        let undelivered = self.undelivered.entry(id).or_default();
        undelivered.failures = failures;
        // What the issuer itself gave goes first.
        let place = if listing.verified { 0 } else { undelivered.listings.len() };
        undelivered.listings.insert(place, listing);
    }

    /// What a refresh or a look has read, unless a renewal that ended while it ran has read a later version.
    pub(in crate::run) fn newer(
        &self,
        id: u64,
        read: Option<TrustMark>,
        began: Option<TrustMark>,
    ) -> Option<TrustMark> {
        let counts = self.slots.get(&id).and_then(|slot| slot.machine.trust());
        read.filter(|read| counts == began || counts.is_none_or(|counts| read.version > counts.version))
    }

    /// Carries other trust material than the hooks have seen further, by those that have to do with it.
    pub(super) fn trust_is(&mut self, id: u64, trust: Option<TrustMark>) {
        let Some(slot) = self.slots.get(&id) else { return };
        let Some(trust) = trust.filter(|trust| slot.machine.trust() != Some(*trust)) else { return };
        let (hooks, name) = (slot.hooks_of_trust(), Arc::clone(&slot.entry.name));
        self.say(Some(name), Event::TrustMoved);
        self.tell(id, Input::TrustMoved { trust, hooks });
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
