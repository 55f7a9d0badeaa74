//! Changes of files, as wake-ups.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::DirectoryConfig;
use crate::directory::{followed, target_parent};

/// Watches the directories that matter; where that is not possible, the poll is all there is.
#[derive(Debug)]
pub(super) struct Notices {
    watcher: Option<RecommendedWatcher>,
    /// What is watched, by device and inode: a directory that was replaced is watched anew.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl Notices {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Our own reading must not wake us; an error of the watch must.
            if event.map_or(true, |event| changes(event.kind)) {
                wake.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files cannot be watched; they are read again at each poll only");
        }
        Self { watcher: watcher.ok(), watched: BTreeMap::new() }
    }

    /// Watches the directories that lead to the files now.
    pub(super) fn follow(&mut self, config: &DirectoryConfig) {
        let mut wanted = BTreeMap::new();
        let crl = config.crl.iter().flat_map(|crl| target_parent(crl));
        for path in followed(&config.dir).into_iter().chain(crl) {
            if let Some(id) = identity(&path) {
                wanted.insert(path, id);
            }
        }
        let Some(watcher) = &mut self.watcher else { return };
        for path in self.watched.iter().filter(|(path, id)| wanted.get(*path) != Some(id)).map(|(path, _)| path) {
            // It may be gone with its directory.
            let _gone = watcher.unwatch(path);
        }
        self.watched.retain(|path, id| wanted.get(path) == Some(id));
        for (path, id) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, id);
                }
                Err(error) => tracing::debug!(%error, path = %path.display(), "not watched"),
            }
        }
    }
}

const fn changes(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(AccessMode::Write)))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
