//! What callers may hold while they are answered: places to wait in, and bytes of bodies.

use std::{
    collections::HashMap,
    net::IpAddr,
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
    /// What each address without a certificate holds.
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Room for a body, until this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _of_all: OwnedSemaphorePermit,
    _of_its_own: Option<Share>,
}

/// What one address holds of the strangers' bytes.
#[derive(Debug)]
struct Share {
    network: IpAddr,
    bytes: usize,
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Share {
    /// None where the address holds as much as it may.
    fn take(by: &Arc<Mutex<HashMap<IpAddr, usize>>>, network: IpAddr, bytes: usize) -> Option<Self> {
        let mut all = by.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(&network).copied().unwrap_or_default().saturating_add(bytes);
        if held > BYTES_BY_NETWORK {
            return None;
        }
        all.insert(network, held);
        Some(Self { network, bytes, by: Arc::clone(by) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(&self.network) {
            *held = held.saturating_sub(self.bytes);
            if *held == 0 {
                all.remove(&self.network);
            }
        }
    }
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Self {
            known: Arc::new(Semaphore::new(BUDGET)),
            strangers: Arc::new(Semaphore::new(BUDGET)),
            by: Arc::default(),
        }
    }

    /// Room for a body of so many bytes. Of the strangers' no address (of IPv6, no /64) takes more than its share.
    pub(crate) fn room(&self, visitor: &Visitor, bytes: usize) -> Result<Room, Refusal> {
        let stranger = match visitor {
            Visitor::Verified(_) => None,
            Visitor::Anonymous(_) => Some(network(visitor.remote().ip())),
        };
        self.take(stranger, bytes)
            .ok_or_else(|| Refusal::later("busy", "too many requests are being read; try again", 1))
    }

    fn take(&self, stranger: Option<IpAddr>, bytes: usize) -> Option<Room> {
        let budget = if stranger.is_some() { &self.strangers } else { &self.known };
        let own = match stranger {
            Some(network) => Some(Share::take(&self.by, network, bytes)?),
            None => None,
        };
        let all = Arc::clone(budget).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Room { _of_all: all, _of_its_own: own })
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
/// Of bodies, for one address (of IPv6, one /64) without a certificate.
const BYTES_BY_NETWORK: usize = BUDGET / 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_holds_the_bodies_of_all_strangers() {
        let bodies = Bodies::new();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let fill = |last| std::iter::from_fn(|| bodies.take(Some(address(last)), 64 * 1024)).collect::<Vec<_>>();
        let first = fill(1);
        assert_eq!(first.len(), 16);
        let others: Vec<_> = (2..=9).map(fill).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), 7 * 16, "all of them together have a bound, too");
        assert!(bodies.take(None, 64 * 1024).is_some());
        drop((first, others));
        assert!(bodies.by.lock().unwrap().is_empty(), "who holds nothing costs nothing");
        assert!(bodies.take(Some(address(1)), 64 * 1024).is_some());
    }

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
