//! Whether files are still those that were delivered.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countermark_credential::directory::{CREDENTIAL_BUNDLE, CURRENT, TLS_CRT, TLS_KEY};

/// What can be seen of a delivered credential without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    current: Option<PathBuf>,
    files: [Option<File>; 3],
}

/// A file's identity and last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    inode: u64,
    changed: (i64, i64),
    mode: u32,
}

impl Fingerprint {
    pub(super) fn of(dir: &Path) -> Self {
        let file = |name| {
            let found = fs::metadata(dir.join(name)).ok()?;
            Some(File { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()), mode: found.mode() })
        };
        Self {
            current: fs::read_link(dir.join(CURRENT)).ok(),
            files: [file(CREDENTIAL_BUNDLE), file(TLS_KEY), file(TLS_CRT)],
        }
    }
}
