//! An issuer's keys, kept fresh: fetched in the background, and once more when a token names one that is not there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::signed::{SignatureRefusal, SignedJwt};
use super::source::{KeyError, KeySource};
use crate::jose::{Compact, KeySet};

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keyring {
    source: Box<dyn KeySource>,
    keys: ArcSwapOption<Keys>,
    generation: AtomicU64,
    /// Held while somebody asks, so that the others wait for that answer.
    asked: Mutex<Asked>,
    /// When the keys were last seen to be published, in seconds of `begun`.
    seen: AtomicU64,
    begun: Instant,
}

/// When tokens made us ask, the latest last.
#[derive(Debug, Default)]
struct Asked(VecDeque<Instant>);

/// What was published at one time.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) set: KeySet,
    document: Bytes,
    /// Moves whenever other keys are published.
    pub(super) generation: u64,
}

impl Keyring {
    pub(super) fn new(source: Box<dyn KeySource>) -> Self {
        Self {
            source,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            asked: Mutex::default(),
            seen: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    /// The keys, unless the issuer has not been seen to publish them for so long that somebody may be keeping us from it.
    pub(super) fn now(&self) -> Option<Arc<Keys>> {
        let keys = self.keys.load_full()?;
        let unseen = self.begun.elapsed().as_secs().saturating_sub(self.seen.load(Ordering::Relaxed));
        (unseen < LONGEST_UNSEEN).then_some(keys)
    }

    /// Whether one of these keys signed it, and which generation of them did. With the keys at hand; if none fits or the signature
    /// is wrong, with newer ones, since an issuer may change its keys, even under the same id.
    pub(super) async fn verify(self: &Arc<Self>, token: Compact<'_>) -> Result<(SignedJwt, u64), SignatureRefusal> {
        let at_hand = self.now();
        let (token, refusal) = match &at_hand {
            None => (token, SignatureRefusal::Unavailable),
            Some(keys) => match SignedJwt::of(token, &keys.set) {
                Ok(signed) => return Ok((signed, keys.generation)),
                Err(refused) => (refused.0, refused.1.into()),
            },
        };
        let newer = self.newer(at_hand.map(|keys| keys.generation)).await.ok_or(refusal)?;
        let signed = SignedJwt::of(token, &newer.set).map_err(|refused| refused.1)?;
        Ok((signed, newer.generation))
    }

    /// Fetches the keys now, and again every five minutes, for ever.
    pub(super) async fn follow(&self, issuer: &str) {
        let mut wait = FIRST_RETRY;
        loop {
            match self.refresh().await {
                Ok(_) => {
                    wait = FIRST_RETRY;
                    tokio::time::sleep(FRESH).await;
                }
                Err(error) => {
                    let kept = self.now().is_some();
                    tracing::warn!(issuer, %error, kept, "the issuer's keys cannot be fetched");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Newer keys than `seen`, if there may be any: asked for once by however many, and no more often than `BURST` times
    /// within `COOLDOWN`, so that tokens with invented key ids ask the issuer nothing.
    pub(super) async fn newer(self: &Arc<Self>, seen: Option<u64>) -> Option<Arc<Keys>> {
        if let Ok(mut asked) = self.asked.try_lock()
            && asked.is_enough(self.now().is_some())
            && self.now().map(|keys| keys.generation) == seen
        {
            return None;
        }
        // In a task of its own: who gives up in the middle has asked all the same.
        let this = Arc::clone(self);
        tokio::spawn(async move { this.newer_now(seen).await }).await.ok()?
    }

    async fn newer_now(&self, seen: Option<u64>) -> Option<Arc<Keys>> {
        let mut asked = self.asked.lock().await;
        let now = self.now();
        if now.as_ref().map(|keys| keys.generation) != seen {
            return now;
        }
        if asked.is_enough(now.is_some()) {
            return None;
        }
        asked.0.push_back(Instant::now());
        self.fetch().await.ok().filter(|keys| Some(keys.generation) != seen)
    }

    /// Asks now, for no token's sake; keys that are there stay if there is no good answer.
    pub(super) async fn refresh(&self) -> Result<Arc<Keys>, KeyError> {
        let _one = self.asked.lock().await;
        self.fetch().await
    }

    async fn fetch(&self) -> Result<Arc<Keys>, KeyError> {
        let document = self.source.fetch().await?;
        let known = self.keys.load_full().filter(|known| known.document == document);
        let keys = match known {
            Some(known) => known,
            None => {
                let set = KeySet::parse(&document)?;
                let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
                Arc::new(Keys { set, document, generation })
            }
        };
        self.seen.store(self.begun.elapsed().as_secs(), Ordering::Relaxed);
        self.keys.store(Some(Arc::clone(&keys)));
        Ok(keys)
    }
}

impl Asked {
    fn is_enough(&mut self, has_keys: bool) -> bool {
        if !has_keys {
            return self.0.back().is_some_and(|last| last.elapsed() < FIRST_PAUSE);
        }
        self.0.retain(|asked| asked.elapsed() < COOLDOWN);
        self.0.len() >= BURST
    }
}

/// Within this time tokens may make us ask an issuer so many times for keys that it did not have.
const COOLDOWN: Duration = Duration::from_secs(30);
const BURST: usize = 3;
/// Until the first keys are there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Seconds for which keys count without being seen at their issuer's.
const LONGEST_UNSEEN: u64 = 24 * 3600;
/// How often keys are fetched without a reason.
const FRESH: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
