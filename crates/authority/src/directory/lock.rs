//! One writer at a time, across processes: numbers, files and inventory move together.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{directory::PRIVATE, error::AuthorityError};

/// Held while an authority changes; released when dropped, or when the process ends however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for whoever else holds it, but not for longer than `patience`.
    pub(crate) async fn acquire(path: &Path, patience: Duration) -> Result<Self, AuthorityError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(path)
            .map_err(|error| AuthorityError::io("lock", path, error))?;
        let begun = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::WOULDBLOCK) if begun.elapsed() >= patience => {
                    return Err(AuthorityError::Locked { path: path.to_owned(), waited: patience });
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(AuthorityError::io("lock", path, error.into())),
            }
            // Whoever holds it may need this thread to go on.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Holds a directory in which nothing stands yet: whoever else makes an authority in it is refused.
    pub(crate) fn directory(path: &Path) -> Result<Self, AuthorityError> {
        let file = File::open(path).map_err(|error| AuthorityError::io("lock", path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(AuthorityError::Busy(path.to_owned())),
            Err(error) => Err(AuthorityError::io("lock", path, error.into())),
        }
    }
}

/// How often a lock that another holds is tried again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
