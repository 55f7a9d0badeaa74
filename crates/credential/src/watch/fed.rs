//! Revocation lists that somebody fetches: judged as those of a file, kept beside them, and remembered over a restart.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use countermark_identity::Thumbprint;
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
    /// The newest that was fetched; none before anything was.
    pub lists: watch::Receiver<Option<Fetched>>,
    /// Where the last good are kept, for a restart at which nobody answers.
    pub cache: Option<PathBuf>,
}

/// Revocation lists as they were fetched.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever fetches says all of it")]
pub struct Fetched {
    /// In PEM or DER, as they came.
    pub lists: Arc<[u8]>,
    /// Whether they came from the authority. Where anybody may have given them, a list that no known key has signed replaces none, is
    /// not kept over a restart, and in nobody's way.
    pub verified: bool,
}

/// Who gave lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// What the last process kept.
    Kept,
    /// Whoever answered.
    Anybody,
    /// The authority.
    Authority,
}

/// Lists that were judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) good: Vec<Arc<Crl>>,
    /// Lists from anybody that nobody known has signed: good for meeting those who have, where there is no other list of theirs.
    pub(super) hints: Vec<Arc<Crl>>,
}

/// What was fed, and the last good of it.
#[derive(Debug)]
pub(super) struct Fed {
    feed: CrlFeed,
    newest: Option<(Arc<[u8]>, Origin)>,
    slot: Slot<Vec<Arc<Crl>>>,
    hints: Vec<Arc<Crl>>,
    /// The last good are not in the cache yet.
    unsaved: bool,
}

impl Fed {
    /// Begins with what the last process kept; what cannot be read is fetched anew.
    pub(super) fn open(feed: CrlFeed) -> Self {
        let kept = feed.cache.as_ref().and_then(|cache| match fs::read(cache) {
            Ok(kept) => Some((kept.into(), Origin::Kept)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(cache = %cache.display(), %error, "the lists that were fetched last cannot be read");
                None
            }
        });
        Self { feed, newest: kept, slot: Slot::default(), hints: Vec::new(), unsaved: false }
    }

    /// Judges what was fetched since, by `judge`, which is also shown the last good. Says whether the last good changed.
    ///
    /// What was kept and does not count any more is fetched anew: that is nobody's fault.
    pub(super) fn take(&mut self, judge: impl FnOnce(&RawFile, Origin, &[Arc<Crl>]) -> Result<Judged, String>) -> bool {
        if let Some(Fetched { lists, verified }) = self.feed.lists.borrow().clone() {
            self.newest = Some((lists, if verified { Origin::Authority } else { Origin::Anybody }));
        }
        let Some((newest, origin)) = &self.newest else { return false };
        let origin = *origin;
        let file = RawFile { path: PathBuf::from(&self.feed.from), content: newest.to_vec() };
        // The same lists are judged again where it is the authority that gives them now.
        let seen =
            [Thumbprint::of(&file.content).as_bytes().as_slice(), &[u8::from(origin == Origin::Anybody)]].concat();
        let before = self.slot.good().cloned().unwrap_or_default();
        let hints = &mut self.hints;
        let moved = self.slot.update(&seen, || {
            let judged = judge(&file, origin, &before)?;
            *hints = judged.hints;
            Ok(judged.good)
        });
        if let (Origin::Kept, Some(fault)) = (origin, self.slot.fault()) {
            tracing::info!(%fault, "the lists that were fetched last do not count any more");
            (self.newest, self.slot) = (None, Slot::default());
            return false;
        }
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
        let fed: Vec<_> = fed.iter().filter(|crl| newer(crl, &delivered, true)).cloned().collect();
        let mut all: Vec<_> = kept.into_iter().chain(fed).collect();
        let other = |hint: &&Arc<Crl>| !all.iter().any(|crl| crl.issuer_der() == hint.issuer_der());
        let hints: Vec<_> = self.hints.iter().filter(other).cloned().collect();
        all.extend(hints);
        all
    }

    /// Whether there are lists that can be used without the directory's.
    pub(super) const fn is_good(&self) -> bool {
        self.slot.good().is_some()
    }

    pub(super) const fn fault(&self) -> Option<&String> {
        self.slot.fault()
    }
}
