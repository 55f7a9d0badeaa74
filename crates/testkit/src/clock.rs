use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countermark_identity::{Clock, SystemClock, UnixTime};

/// A clock that moves when it is told to. Clones share one hand.
#[derive(Clone, Debug)]
pub struct MockClock {
    now: Arc<AtomicU64>,
}

impl MockClock {
    /// Begins at the present, so that programs with a clock of their own agree.
    #[must_use]
    pub fn new() -> Self {
        Self::at(SystemClock.now())
    }

    /// Begins at this time.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self { now: Arc::new(AtomicU64::new(now.as_secs())) }
    }

    /// Moves the hand forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Puts the hand anywhere, also back.
    pub fn set(&self, now: UnixTime) {
        self.now.store(now.as_secs(), Ordering::SeqCst);
    }
}

impl Default for MockClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MockClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now.load(Ordering::SeqCst))
    }
}
