//! Tokens that were verified a moment ago: a table of fixed size that is read without a lock.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use countermark_identity::{Thumbprint, UnixTime};

use super::token::VerifiedToken;

/// What a token is found again by: its own hash and the certificate that it came with. The same token over another
/// certificate is another question.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Key {
    token: [u8; 32],
    presented: Thumbprint,
}

impl Key {
    pub(super) fn new(token: &str, presented: Thumbprint) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self { token: hash, presented }
    }
}

/// One answer, for as long as it holds.
struct Entry {
    key: Key,
    token: Arc<VerifiedToken>,
    /// What the answer rests on: when it moves, the answer is asked for again.
    generation: u64,
    until: UnixTime,
}

/// Whoever comes later takes the place of whoever was there: a bound without bookkeeping.
pub(super) struct Cache {
    slots: Box<[ArcSwapOption<Entry>]>,
    hasher: RandomState,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| ArcSwapOption::empty()).collect(), hasher: RandomState::new() }
    }

    /// The answer, if it still holds at `now`; `generation` says what its issuer's answers rest on at present.
    pub(super) fn get(
        &self,
        key: &Key,
        now: UnixTime,
        generation: impl Fn(&str) -> Option<u64>,
    ) -> Option<Arc<VerifiedToken>> {
        let slot = self.slot(key)?.load();
        let entry = slot.as_ref().filter(|entry| entry.key == *key && now < entry.until)?;
        (generation(entry.token.issuer()) == Some(entry.generation)).then(|| Arc::clone(&entry.token))
    }

    pub(super) fn put(&self, key: Key, token: Arc<VerifiedToken>, generation: u64, until: UnixTime) {
        if let Some(slot) = self.slot(&key) {
            slot.store(Some(Arc::new(Entry { key, token, generation, until })));
        }
    }

    fn slot(&self, key: &Key) -> Option<&ArcSwapOption<Entry>> {
        let hash = self.hasher.hash_one(key);
        self.slots.get(usize::try_from(hash % SLOTS).unwrap_or_default())
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

/// Ten thousand agents with a token each, some of which share a place.
const SLOTS: u64 = 16_384;
