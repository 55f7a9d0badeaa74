//! Servers that are left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Until when something is not done again, by a clock that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    pub(crate) fn lasts(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Begins one, or makes it longer. Whether it is a new one: of those who failed together one says so.
    pub(crate) fn begin(&self, lasts: Duration) -> bool {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = until.filter(|until| now < *until);
        *until = Some(before.unwrap_or(now).max(now + lasts));
        before.is_none()
    }
}
