//! One writer at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::error::DeliveryError;
use super::names::{CLAIM, LOCK};

/// Held while a directory is written to; released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits a while for the lock of `dir`.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, DeliveryError> {
        Self::acquire_within(dir, ATTEMPTS)
    }

    pub(super) fn acquire_within(dir: &Path, attempts: u32) -> Result<Self, DeliveryError> {
        lock(&dir.join(LOCK), attempts).map(|file| Self { _file: file })
    }
}

fn lock(path: &Path, attempts: u32) -> Result<File, DeliveryError> {
    super::guard::require_own(path.parent().unwrap_or_else(|| Path::new(".")))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(DeliveryError::io("open the lock file", path))?;
    for attempt in 1..=attempts {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if attempt < attempts => {
                std::thread::sleep(PAUSE)
            }
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => break,
            Err(error) => return Err(DeliveryError::io("lock", path)(error.into())),
        }
    }
    Err(DeliveryError::Busy { path: path.to_owned() })
}

/// Held for as long as one process keeps a directory fresh, so that a second one refuses.
///
/// Apart from the lock of a single delivery: `mint` may still deliver into the directory meanwhile.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

impl Claim {
    /// Claims `dir`, at once or not at all.
    ///
    /// # Errors
    /// [`DeliveryError::Busy`] when another process keeps it.
    pub fn acquire(dir: &Path) -> Result<Self, DeliveryError> {
        super::disk::create_dir_all(dir, super::Access::default())?;
        lock(&dir.join(CLAIM), 1).map(|file| Self { _file: file })
    }
}

/// Half-second deliveries are slow ones; five seconds of them mean that something hangs.
const ATTEMPTS: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);
