//! Whether the audit can be written, for readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countermark_identity::Clock;

/// How long a failure counts. Then guard is ready again, since only a call can show that the audit is well.
const COUNTS: u64 = 30;

/// When the audit could not be written for the last time.
#[derive(Debug)]
pub(crate) struct LastFailure {
    clock: Arc<dyn Clock>,
    /// In seconds since 1970; 0 is never.
    at: AtomicU64,
}

impl LastFailure {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, at: AtomicU64::new(0) })
    }

    /// Remembers what became of a write.
    pub(super) fn note(&self, written: bool) {
        let at = if written { 0 } else { self.clock.now().as_secs() };
        if self.at.load(Ordering::Relaxed) != at {
            self.at.store(at, Ordering::Release);
        }
    }

    /// Why calls are refused, if they are.
    pub(crate) fn problem(&self) -> Option<String> {
        let at = self.at.load(Ordering::Acquire);
        let counts = at > 0 && self.clock.now().as_secs() < at.saturating_add(COUNTS);
        counts.then(|| "the audit cannot be written, so calls are refused; see the log for the cause".to_owned())
    }
}
