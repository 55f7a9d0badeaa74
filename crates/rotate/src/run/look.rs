//! Whether files are still those that were delivered.

use std::fs;
use std::path::{Path, PathBuf};

use countermark_credential::directory::{CREDENTIAL_BUNDLE, CURRENT, TLS_CRT, TLS_KEY};

use crate::machine::TrustMark;
use crate::mark::File;

/// What can be seen of a delivered credential without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    current: Option<PathBuf>,
    files: [Option<File>; 3],
    trust: Option<TrustMark>,
}

impl Fingerprint {
    pub(super) fn of(dir: &Path) -> Self {
        let file = |name| File::of(&dir.join(name));
        Self {
            current: fs::read_link(dir.join(CURRENT)).ok(),
            files: [file(CREDENTIAL_BUNDLE), file(TLS_KEY), file(TLS_CRT)],
            trust: TrustMark::of(dir),
        }
    }

    /// Which trust material was there.
    pub(super) const fn trust(&self) -> Option<TrustMark> {
        self.trust
    }
}
