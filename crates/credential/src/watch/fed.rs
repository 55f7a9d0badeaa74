//! Revocation lists that somebody fetches: judged as those of a file, kept beside them, and remembered over a restart.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::slot::Slot;
use crate::crl::Crl;
use crate::directory::{RawFile, replace_file};

/// Revocation lists of the credential's own trust domain that come from elsewhere than a file.
///
/// They count beside those of the directory: of each CA, the list with the higher number does.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever fetches says all of it")]
pub struct CrlFeed {
    /// From where, for people.
    pub from: String,
    /// The newest that was fetched, in PEM or DER, as it came; none before anything was.
    pub lists: watch::Receiver<Option<Arc<[u8]>>>,
    /// Where the last good are kept, for a restart at which nobody answers.
    pub cache: Option<PathBuf>,
}

/// What was fed, and the last good of it.
#[derive(Debug)]
pub(super) struct Fed {
    feed: CrlFeed,
    newest: Option<Arc<[u8]>>,
    slot: Slot<Vec<Arc<Crl>>>,
    /// The last good are not in the cache yet.
    unsaved: bool,
}

impl Fed {
    /// Begins with what the last process kept; what cannot be read is fetched anew.
    pub(super) fn open(feed: CrlFeed) -> Self {
        let kept = feed.cache.as_ref().and_then(|cache| match fs::read(cache) {
            Ok(kept) => Some(kept.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(cache = %cache.display(), %error, "the lists that were fetched last cannot be read");
                None
            }
        });
        Self { feed, newest: kept, slot: Slot::default(), unsaved: false }
    }

    /// Judges what was fetched since, by `judge`, which is also shown the last good. Says whether the last good changed.
    pub(super) fn take(&mut self, judge: impl FnOnce(&RawFile, &[Arc<Crl>]) -> Result<Vec<Arc<Crl>>, String>) -> bool {
        if let Some(lists) = self.feed.lists.borrow().clone() {
            self.newest = Some(lists);
        }
        let Some(newest) = &self.newest else { return false };
        let file = RawFile { path: PathBuf::from(&self.feed.from), content: newest.to_vec() };
        let before = self.slot.good().cloned().unwrap_or_default();
        let moved = self.slot.update(&file.content, || judge(&file, &before));
        self.unsaved |= moved;
        moved
    }

    /// Keeps the last good for a restart.
    pub(super) fn save(&mut self) -> Result<(), String> {
        let (Some(cache), Some(good)) = (self.feed.cache.as_ref().filter(|_| self.unsaved), self.slot.good()) else {
            return Ok(());
        };
        let text: String = good.iter().map(|crl| crl.to_pem()).collect();
        replace_file(cache, text.as_bytes()).map_err(|error| {
            format!("the revocation lists that were fetched cannot be kept over a restart: {error}")
        })?;
        self.unsaved = false;
        Ok(())
    }

    /// The lists of the directory, or those that were fed where they are newer.
    pub(super) fn beside(&self, delivered: Vec<Arc<Crl>>) -> Vec<Arc<Crl>> {
        let fed = self.slot.good().cloned().unwrap_or_default();
        let newer = |one: &Arc<Crl>, others: &[Arc<Crl>], or_same: bool| {
            let mut same = others.iter().filter(|other| other.issuer_der() == one.issuer_der());
            same.all(|other| one.number() > other.number() || (or_same && one.number() == other.number()))
        };
        let kept: Vec<_> = delivered.iter().filter(|crl| newer(crl, &fed, false)).cloned().collect();
        let fed = fed.iter().filter(|crl| newer(crl, &delivered, true)).cloned();
        kept.into_iter().chain(fed).collect()
    }

    /// Whether there are lists that can be used without the directory's.
    pub(super) const fn is_good(&self) -> bool {
        self.slot.good().is_some()
    }

    pub(super) const fn fault(&self) -> Option<&String> {
        self.slot.fault()
    }
}
