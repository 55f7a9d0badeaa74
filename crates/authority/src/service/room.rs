//! What callers may hold while they are answered: places to wait in, and bytes of bodies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use countermark_mtls::Visitor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::{limits::network, refusal::Refusal};

/// Places for long polls: apart from those of other requests, and so many for each caller that nobody takes all of them.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    by: HashMap<String, usize>,
    total: usize,
    strangers: usize,
}

/// A place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    caller: String,
    stranger: bool,
    held: Arc<Mutex<Held>>,
}

impl Waiting {
    /// A place for this caller; none where it, or strangers together, or all together hold as many as they may.
    pub(crate) fn place(&self, visitor: &Visitor) -> Option<Place> {
        let (caller, most, stranger) = match visitor {
            Visitor::Verified(peer) => (peer.caller().spiffe_id().to_string(), BY_IDENTITY, false),
            Visitor::Anonymous(_) => (network(visitor.remote().ip()).to_string(), BY_NETWORK, true),
        };
        self.take(caller, most, stranger)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    fn take(&self, caller: String, most: usize, stranger: bool) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full = held.total >= IN_TOTAL || (stranger && held.strangers >= BY_STRANGERS);
        if full || held.by.get(&caller).is_some_and(|count| *count >= most) {
            return None;
        }
        *held.by.entry(caller.clone()).or_default() += 1;
        held.total += 1;
        held.strangers += usize::from(stranger);
        Some(Place { caller, stranger, held: Arc::clone(&self.held) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total = held.total.saturating_sub(1);
        held.strangers = held.strangers.saturating_sub(usize::from(self.stranger));
        if let Some(count) = held.by.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.by.remove(&self.caller);
            }
        }
    }
}

/// The bytes of bodies that are in memory at one time; strangers have their own, so that they shut out nobody who renews.
#[derive(Debug)]
pub(crate) struct Bodies {
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Self { known: Arc::new(Semaphore::new(BUDGET)), strangers: Arc::new(Semaphore::new(BUDGET)) }
    }

    /// Room for a body of so many bytes, until the permit is dropped.
    pub(crate) fn room(&self, visitor: &Visitor, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let budget = match visitor {
            Visitor::Verified(_) => &self.known,
            Visitor::Anonymous(_) => &self.strangers,
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(budget).try_acquire_many_owned(bytes);
        room.map_err(|_| Refusal::later("busy", "too many requests are being read; try again", 1))
    }

    #[cfg(test)]
    pub(crate) fn strangers(&self) -> &Arc<Semaphore> {
        &self.strangers
    }
}

/// Long polls at one time, and of those without a certificate.
const IN_TOTAL: usize = 2048;
const BY_STRANGERS: usize = 512;
/// Of one identity: its replicas, and what they had open before a restart.
const BY_IDENTITY: usize = 64;
/// Of one address (of IPv6, one /64) without a certificate.
const BY_NETWORK: usize = 64;
/// Of bodies, for those with a certificate and for those without.
const BUDGET: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_every_place_and_strangers_leave_most_of_them() {
        let waiting = Waiting::default();
        let mut held = Vec::new();
        while let Some(place) = waiting.take("10.0.0.1".to_owned(), BY_NETWORK, true) {
            held.push(place);
        }
        assert_eq!(held.len(), BY_NETWORK);
        for number in 0.. {
            let Some(place) = waiting.take(format!("10.0.{number}"), BY_NETWORK, true) else { break };
            held.push(place);
        }
        assert_eq!(held.len(), BY_STRANGERS);
        for number in 0.. {
            let Some(place) = waiting.take(format!("agent {number}"), BY_IDENTITY, false) else { break };
            held.push(place);
        }
        assert_eq!(held.len(), IN_TOTAL);
        drop(held);
        assert!(waiting.take("10.0.0.1".to_owned(), BY_NETWORK, true).is_some());
        assert_eq!(waiting.held.lock().unwrap().by.len(), 0, "who waits no longer costs nothing");
    }
}
