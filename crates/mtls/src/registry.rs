//! Every live connection of an acceptor or client, judged again when its right may have moved.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use countermark_identity::{Clock, Identity, UnixTime};
use tokio::sync::watch;

use crate::demand::Demand;
use crate::evidence::Evidence;
use crate::live::Live;
use crate::{PeerEnded, TrustGeneration};

/// How often deadlines are looked at: the wall clock may jump, so nothing sleeps until one.
const TICK: Duration = Duration::from_millis(250);
/// How often each connection is judged in full although nothing has landed: its chain may end in
/// other ways than by its own date, a revocation list by going stale.
const ROUND: Duration = Duration::from_secs(60);
/// After so many judgements other tasks get their turn.
const BATCH: usize = 32;

/// The live connections of one acceptor or one client.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// What the connections themselves hold of their registry.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) trust: watch::Receiver<Arc<TrustGeneration>>,
    pub(crate) clock: Arc<dyn Clock>,
    next_id: AtomicU64,
    kept: Once,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    by_id: HashMap<u64, Weak<Live>>,
    /// Each connection twice: when it retires and when it ends.
    deadlines: BTreeSet<(UnixTime, u64)>,
}

impl Registry {
    pub(crate) fn new(trust: watch::Receiver<Arc<TrustGeneration>>, clock: Arc<dyn Clock>) -> Self {
        let shared =
            Shared { trust, clock, next_id: AtomicU64::new(1), kept: Once::new(), connections: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// How many connections are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.connections().by_id.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends every connection for whose identity a reason is given, and says how many those were.
    ///
    /// For rights that this crate knows nothing of, such as a policy that no longer names an agent.
    pub fn end_where(&self, reason: impl Fn(&Identity) -> Option<String>) -> usize {
        let mut ended = 0;
        for live in self.shared.all() {
            if let Some(reason) = reason(&live.identity) {
                live.end(PeerEnded::Withdrawn { reason: reason.into() });
                ended += 1;
            }
        }
        ended
    }

    /// Enters a connection whose handshake has finished, and judges it before its first use.
    pub(crate) fn admit(&self, evidence: Evidence, demand: Demand) -> Result<Arc<Live>, PeerEnded> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live::new(id, evidence, demand, Arc::clone(&self.shared)));
        {
            let mut connections = self.shared.connections();
            connections.by_id.insert(id, Arc::downgrade(&live));
            connections.deadlines.insert((live.retire_at(), id));
            connections.deadlines.insert((live.not_after(), id));
        }
        // A generation that landed during the handshake counts, too.
        live.judge()?;
        Ok(live)
    }

    /// Starts the one task of an acceptor or client, at its first use, when there is a runtime; it
    /// ends with the last holder of the registry.
    pub(crate) fn keep(&self) {
        self.shared.kept.call_once(|| {
            tokio::spawn(keep(Arc::downgrade(&self.shared), self.shared.trust.clone()));
        });
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Live>> {
        self.connections().by_id.values().filter_map(Weak::upgrade).collect()
    }

    /// Those with a deadline that has passed, which is thereby taken off the list.
    fn due(&self, now: UnixTime) -> Vec<Arc<Live>> {
        let mut due = Vec::new();
        let mut connections = self.connections();
        while let Some(&(at, id)) = connections.deadlines.first() {
            // A certificate is good through the second of its notAfter.
            if at >= now {
                break;
            }
            connections.deadlines.pop_first();
            due.extend(connections.by_id.get(&id).and_then(Weak::upgrade));
        }
        due
    }

    pub(crate) fn forget(&self, live: &Live) {
        let mut connections = self.connections();
        connections.by_id.remove(&live.id);
        connections.deadlines.remove(&(live.retire_at(), live.id));
        connections.deadlines.remove(&(live.not_after(), live.id));
    }
}

async fn keep(shared: Weak<Shared>, mut trust: watch::Receiver<Arc<TrustGeneration>>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trust_lives = true;
    loop {
        let moved = tokio::select! {
            changed = trust.changed(), if trust_lives => {
                trust_lives = changed.is_ok();
                trust_lives
            }
            _ = round.tick() => true,
            _ = tick.tick() => false,
        };
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.clock.now();
        for live in shared.due(now) {
            if live.judge().is_ok() {
                live.retire();
            }
        }
        if moved {
            judge_all(&shared, now).await;
        }
    }
}

async fn judge_all(shared: &Shared, now: UnixTime) {
    for (nth, live) in shared.all().into_iter().enumerate() {
        // Whoever is refused ends, and says so; for the others the path may now end earlier.
        if live.judge().is_ok() && live.judge_in_full(now).is_ok() {
            shared.connections().deadlines.insert((live.not_after(), live.id));
        }
        if nth % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use countermark_credential::{Trust, TrustSource as _};
    use countermark_identity::{Role, SanMap};
    use countermark_testkit::TestCa;

    use super::*;
    use crate::TrustGenerations;

    /// The keeper never runs here: whoever is about to answer asks for himself.
    #[tokio::test]
    async fn a_newer_generation_counts_before_the_keeper_has_looked() {
        let ca = TestCa::new("agents.internal");
        let trust = ca.trusted();
        let map = Arc::new(SanMap::empty(ca.trust_domain().clone()));
        let mut generations = TrustGenerations::join(trust.watch(), watch::channel(map).1).watch();
        let registry = Registry::new(generations.clone(), Arc::new(ca.clock().clone()));
        let demand = Demand::Caller { roles: &[Role::Agent], sub_agents: false, required: true };
        let (chain, first) = (ca.agent("billing-bot").chain().into(), Arc::clone(&generations.borrow_and_update()));
        let evidence = Evidence::verify(chain, &demand, &first, ca.clock().now()).unwrap();
        let live = registry.admit(evidence, demand).unwrap();
        live.judge().unwrap();
        assert_eq!(registry.len(), 1);
        trust.set(Arc::new(Trust::nobody()));
        generations.changed().await.unwrap();
        assert_eq!(live.judge().unwrap_err().kind(), "refused");
        assert!(registry.is_empty());
    }
}
