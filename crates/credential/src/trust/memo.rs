//! A bounded, lock-free memory of signature checks that succeeded.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

/// The SHA-256 of everything that one signature check depends on.
pub(crate) type Digest = [u64; 4];

/// Remembers the digests of successful checks, and of nothing else.
///
/// A slot is four words that are written and read without a lock. A reader that races with writers may see a mix of
/// digests that were each put there by a successful check; that such a mix equals the digest of a check that would fail is as
/// likely as guessing those words of a SHA-256. Older digests are overwritten, so that memory is bounded and a stranger who
/// owns many good certificates can only make it forget, which costs time and nothing else.
pub(crate) struct Memo {
    sets: Box<[[Slot; WAYS]]>,
}

type Slot = [AtomicU64; 4];

impl Memo {
    /// Runs `check` unless the same check is known to have succeeded; remembers it if it succeeds now.
    pub(crate) fn recall<E>(&self, parts: [&[u8]; 4], check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let digest = digest(parts);
        if self.contains(&digest) {
            return Ok(());
        }
        check()?;
        self.insert(&digest);
        Ok(())
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        // The empty slot is no digest that was ever put here.
        *digest != [0; 4] && self.set(digest).iter().any(|slot| load(slot) == *digest)
    }

    fn insert(&self, digest: &Digest) {
        let set = self.set(digest);
        let free = set.iter().find(|slot| load(slot) == [0; 4]);
        let victim = usize::try_from(digest[1] % WAYS as u64).unwrap_or(0);
        if let Some(slot) = free.or_else(|| set.get(victim)) {
            for (word, value) in slot.iter().zip(digest) {
                word.store(*value, Ordering::Relaxed);
            }
        }
    }

    fn set(&self, digest: &Digest) -> &[Slot] {
        let place = usize::try_from(digest[0] % SETS as u64).unwrap_or(0);
        self.sets.get(place).map_or(&[], |set| set.as_slice())
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self { sets: (0..SETS).map(|_| Default::default()).collect() }
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("capacity", &(SETS * WAYS)).finish_non_exhaustive()
    }
}

/// Hashes the parts, each behind its length, so that no two lists of parts share a digest.
fn digest(parts: [&[u8]; 4]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let bytes = context.finish();
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_ref().chunks_exact(8)) {
        *word = chunk.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    words
}

fn load(slot: &Slot) -> Digest {
    [0, 1, 2, 3].map(|place: usize| slot.get(place).map_or(0, |word| word.load(Ordering::Relaxed)))
}

/// 1024 sets of 4 digests of 32 bytes: 128 KiB.
const SETS: usize = 1024;
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_never_remembered() {
        let memo = Memo::default();
        let parts: [&[u8]; 4] = [b"alg", b"key", b"message", b"signature"];
        assert_eq!(memo.recall(parts, || Err("bad")), Err("bad"));
        assert_eq!(memo.recall(parts, || Err("bad again")), Err("bad again"));
        assert_eq!(memo.recall(parts, || Ok::<(), &str>(())), Ok(()));
        assert_eq!(memo.recall(parts, || Err("not called")), Ok(()));
    }

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let memo = Memo::default();
        memo.recall([b"alg", b"key", b"message", b"signature"], || Ok::<(), ()>(())).unwrap();
        let others: [[&[u8]; 4]; 5] = [
            [b"alh", b"key", b"message", b"signature"],
            [b"alg", b"kez", b"message", b"signature"],
            [b"alg", b"key", b"messagf", b"signature"],
            [b"alg", b"key", b"message", b"signaturf"],
            [b"algk", b"ey", b"message", b"signature"],
        ];
        for parts in others {
            assert_eq!(memo.recall(parts, || Err(())), Err(()));
        }
    }

    #[test]
    fn memory_is_bounded_and_stays_correct_when_full() {
        let memo = Memo::default();
        let key = |number: u32| number.to_be_bytes();
        for number in 0..20_000_u32 {
            memo.recall([b"", b"", b"", &key(number)], || Ok::<(), ()>(())).unwrap();
        }
        let remembered =
            (0..20_000_u32).filter(|number| memo.contains(&digest([b"", b"", b"", &key(*number)]))).count();
        assert!(remembered <= SETS * WAYS && remembered > SETS);
        assert_eq!(memo.recall([b"", b"", b"x", &key(1)], || Err(())), Err(()));
    }
}
