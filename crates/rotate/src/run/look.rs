//! Whether files are still those that were delivered.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countermark_credential::directory::{CREDENTIAL_BUNDLE, CURRENT, TLS_CRT, TLS_KEY, trust_version};

/// What can be seen of a delivered credential without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    current: Option<PathBuf>,
    files: [Option<File>; 3],
    trust: Trust,
}

/// The version of the trust material, and what tells its files from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trust {
    version: Option<u64>,
    files: u64,
}

/// A file's identity and last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct File {
    inode: u64,
    changed: (i64, i64),
    mode: u32,
}

impl Fingerprint {
    pub(super) fn of(dir: &Path) -> Self {
        let file = |name| File::of(&dir.join(name));
        Self {
            current: fs::read_link(dir.join(CURRENT)).ok(),
            files: [file(CREDENTIAL_BUNDLE), file(TLS_KEY), file(TLS_CRT)],
            trust: Trust::of(dir),
        }
    }

    /// Which version of the trust material was there.
    pub(super) const fn trust(&self) -> Option<u64> {
        self.trust.version
    }

    /// Whether a hand was at the trust material since `before`: the version is the same, and its files are not.
    pub(super) fn is_of_other_trust(&self, before: &Self) -> bool {
        self.trust.version.is_some() && self.trust.version == before.trust.version && self.trust != before.trust
    }
}

impl File {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()), mode: found.mode() })
    }
}

impl Trust {
    fn of(dir: &Path) -> Self {
        let Some(version) = trust_version(dir) else { return Self::default() };
        let files = fs::read_dir(dir.join("trust/versions").join(version.to_string())).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| (file.file_name(), File::of(&file.path()))).collect();
        files.sort_unstable();
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        Self { version: Some(version), files: hasher.finish() }
    }
}
