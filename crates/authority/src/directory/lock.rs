//! One writer at a time, across processes: numbers, files and inventory move together.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
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
    pub(crate) async fn acquire(path: &Path) -> Result<Self, AuthorityError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(path)
            .map_err(|error| AuthorityError::io("lock", path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Self::wait(path, file).await,
            Err(error) => Err(AuthorityError::io("lock", path, error.into())),
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

    /// Waits on a thread of its own: whoever holds the lock may need this one to go on.
    async fn wait(path: &Path, file: File) -> Result<Self, AuthorityError> {
        let waited: Result<Result<Self, io::Error>, _> = tokio::task::spawn_blocking(move || {
            loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Ok(()) => return Ok(Self { _file: file }),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await;
        let held: Result<Self, io::Error> = match waited {
            Ok(held) => held,
            Err(lost) => Err(io::Error::other(lost)),
        };
        held.map_err(|error| AuthorityError::io("lock", path, error))
    }
}
