//! Whether the audit can be written, for readiness.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countermark_identity::Clock;
use countermark_mcp::{Audit, AuditLine};

/// How long a failure counts. Then guard is ready again, since only a call can show that the audit is well.
const COUNTS: u64 = 30;

/// An audit whose last failure is remembered.
#[derive(Debug)]
pub(crate) struct Audited<A> {
    inner: A,
    failure: Arc<LastFailure>,
}

/// When the audit could not be written for the last time.
#[derive(Debug)]
pub(crate) struct LastFailure {
    clock: Arc<dyn Clock>,
    /// In seconds since 1970; 0 is never.
    at: AtomicU64,
}

impl<A> Audited<A> {
    pub(crate) fn new(inner: A, failure: Arc<LastFailure>) -> Self {
        Self { inner, failure }
    }
}

impl LastFailure {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, at: AtomicU64::new(0) })
    }

    /// Why calls are refused, if they are.
    pub(crate) fn problem(&self) -> Option<String> {
        let at = self.at.load(Ordering::Acquire);
        let counts = at > 0 && self.clock.now().as_secs() < at.saturating_add(COUNTS);
        counts.then(|| "the audit cannot be written, so calls are refused; see the log for the cause".to_owned())
    }
}

impl<A: Audit> Audit for Audited<A> {
    fn record(&self, line: &AuditLine<'_>) -> io::Result<()> {
        let written = self.inner.record(line);
        let at = if written.is_ok() { 0 } else { self.failure.clock.now().as_secs() };
        if self.failure.at.load(Ordering::Relaxed) != at {
            self.failure.at.store(at, Ordering::Release);
        }
        written
    }
}
