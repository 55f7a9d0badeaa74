//! One attempt at a time at whatever waits for a file system.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::renew::blocking;

/// The attempts that have not ended, also those whose time is up: nothing ends a thread that a file system holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<HashSet<Place>>>);

/// Where no two attempts are made at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A further place of delivery, whoever delivers there.
    Delivery(PathBuf),
    /// A file of one of the hooks of the credential in a directory.
    Hook(PathBuf, PathBuf),
}

impl Attempts {
    /// Works where waiting for the disk holds up nobody. What does not end in time goes on, and no other attempt begins at its place
    /// before it ends: a file system that hangs holds one thread for each place, and never all of them.
    pub(super) async fn within(
        &self,
        place: Place,
        timeout: Duration,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let attempt = self.begin(place)?;
        let work = blocking(move || {
            let _until_it_ends = attempt;
            work()
        });
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(format!("it did not end within {timeout:?}")))
    }

    fn begin(&self, place: Place) -> Result<Attempt, String> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.contains(&place) {
            return Err("the attempt before has not ended".to_owned());
        }
        if places.len() >= MOST {
            return Err(format!("{MOST} attempts of hooks have not ended; see whether a file system hangs"));
        }
        places.insert(place.clone());
        Ok(Attempt { attempts: self.clone(), place })
    }
}

/// An attempt that has not ended.
struct Attempt {
    attempts: Attempts,
    place: Place,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.attempts.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// Far more than run at one time, and far fewer than there are threads.
const MOST: usize = 128;
