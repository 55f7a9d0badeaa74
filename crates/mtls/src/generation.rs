//! Trust generations: what a connection was accepted under.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countermark_credential::Trust;
use countermark_identity::SanMap;
use tokio::sync::watch;

/// Ids are unique in the process, so that generations of two origins are never taken for one.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Bundles, CRLs and SAN map, as one value that connections are judged by.
#[derive(Debug)]
pub struct TrustGeneration {
    id: u64,
    trust: Arc<Trust>,
    map: Arc<SanMap>,
    latest: Arc<AtomicU64>,
}

impl TrustGeneration {
    /// Its number: grows with each change, unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The bundles and CRLs.
    #[must_use]
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The SANs that name an agent without being its SPIFFE ID.
    #[must_use]
    pub fn map(&self) -> &Arc<SanMap> {
        &self.map
    }

    /// Whether no newer generation of the same origin has landed: one atomic compare.
    #[must_use]
    pub fn is_latest(&self) -> bool {
        self.latest.load(Ordering::Acquire) == self.id
    }

    fn next(latest: &Arc<AtomicU64>, trust: Arc<Trust>, map: Arc<SanMap>) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, trust, map, latest: Arc::clone(latest) })
    }
}

/// Joins trust material and SAN map, each of which changes on its own, into trust generations.
#[derive(Debug, Clone)]
pub struct TrustGenerations {
    current: watch::Receiver<Arc<TrustGeneration>>,
}

impl TrustGenerations {
    /// Starts the join. Must be called within a tokio runtime; the task ends with its last reader
    /// or when neither side can change any more.
    #[must_use]
    pub fn join(mut trust: watch::Receiver<Arc<Trust>>, mut map: watch::Receiver<Arc<SanMap>>) -> Self {
        let latest = Arc::new(AtomicU64::new(0));
        let first = TrustGeneration::next(
            &latest,
            Arc::clone(&trust.borrow_and_update()),
            Arc::clone(&map.borrow_and_update()),
        );
        latest.store(first.id, Ordering::Release);
        let (publish, current) = watch::channel(first);
        tokio::spawn(follow(publish, latest, trust, map));
        Self { current }
    }

    /// A generation that never changes: both sides are fixed.
    #[must_use]
    pub fn fixed(trust: Arc<Trust>, map: Arc<SanMap>) -> Self {
        let latest = Arc::new(AtomicU64::new(0));
        let only = TrustGeneration::next(&latest, trust, map);
        latest.store(only.id, Ordering::Release);
        Self { current: watch::channel(only).1 }
    }

    /// The current generation and every later one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<TrustGeneration>> {
        self.current.clone()
    }
}

async fn follow(
    publish: watch::Sender<Arc<TrustGeneration>>,
    latest: Arc<AtomicU64>,
    mut trust: watch::Receiver<Arc<Trust>>,
    mut map: watch::Receiver<Arc<SanMap>>,
) {
    let (mut trust_lives, mut map_lives) = (true, true);
    while trust_lives || map_lives {
        tokio::select! {
            () = publish.closed() => return,
            changed = trust.changed(), if trust_lives => trust_lives = changed.is_ok(),
            changed = map.changed(), if map_lives => map_lives = changed.is_ok(),
        }
        let (trust, map) = (Arc::clone(&trust.borrow_and_update()), Arc::clone(&map.borrow_and_update()));
        publish.send_if_modified(|current| {
            if Arc::ptr_eq(&current.trust, &trust) && current.map == map {
                return false;
            }
            *current = TrustGeneration::next(&latest, trust, map);
            // Under the channel's write lock: whoever reads the channel after the id sees this one.
            latest.store(current.id, Ordering::Release);
            true
        });
    }
}
