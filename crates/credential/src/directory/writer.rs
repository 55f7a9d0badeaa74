//! One delivery at a time, and what is read meanwhile.

use std::path::{Path, PathBuf};

use super::access::Access;
use super::disk;
use super::error::DeliveryError;
use super::lock::Lock;

/// A directory to which nobody else delivers while this is held: what is read of it meanwhile is what is there when something is
/// delivered. A hand that edits its files asks nobody.
#[derive(Debug)]
pub struct Writer {
    pub(super) dir: PathBuf,
    pub(super) access: Access,
    _lock: Lock,
}

impl Writer {
    /// Waits a while for the lock of `dir`, which is made where it is missing. Trust material that is
    /// delivered alone is for those whom `access` names.
    ///
    /// # Errors
    /// [`DeliveryError::Busy`] when another process does not let go of it, and what the file system said.
    pub fn open(dir: &Path, access: Access) -> Result<Self, DeliveryError> {
        disk::create_dir_all(dir, access)?;
        Ok(Self { dir: dir.to_owned(), access, _lock: Lock::acquire(dir)? })
    }
}
