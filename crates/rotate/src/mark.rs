//! What tells trust material from what was there before, without reading it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use countermark_credential::directory::trust_version;

use crate::machine::TrustMark;
use crate::schedule;

impl TrustMark {
    /// That of what counts in a directory; none where nothing was delivered.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let version = trust_version(dir)?;
        let files = fs::read_dir(dir.join("trust/versions").join(version.to_string())).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| (file.file_name(), File::of(&file.path()))).collect();
        files.sort_unstable();
        let mut text = String::new();
        let _infallible = write!(text, "{files:?}");
        Some(Self { version, files: schedule::seed(text.as_bytes()) })
    }
}

/// A file's identity and last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    inode: u64,
    changed: (i64, i64),
    mode: u32,
}

impl File {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()), mode: found.mode() })
    }
}
