//! An issuer's keys, kept fresh: fetched in the background, and once more when a token names one that is not there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use countermark_identity::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::signed::{SignatureRefusal, Signed};
use super::source::{KeyError, KeySource};
use crate::jose::{Compact, JwsFault, KeySet};

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keyring {
    source: Box<dyn KeySource>,
    clock: Arc<dyn Clock>,
    keys: ArcSwapOption<Keys>,
    generation: AtomicU64,
    asking: Mutex<Asking>,
    /// When the keys were last seen to be published: by the wall clock, which also runs while the machine sleeps, and in seconds of
    /// `begun`, since the wall clock may be set back.
    seen: AtomicU64,
    seen_since: AtomicU64,
    begun: Instant,
}

/// Who is asked now, and who was.
#[derive(Debug, Default)]
struct Asking {
    /// The answer that is on its way, for all who wait for one.
    coming: Option<watch::Receiver<Option<Answer>>>,
    /// When what tokens made us ask was answered, or was not, the latest last.
    asked: VecDeque<Instant>,
    /// When there last was a good answer.
    answered: Option<Instant>,
}

type Answer = Result<Arc<Keys>, KeyError>;

/// What was published at one time.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) set: KeySet,
    document: Bytes,
    /// Moves whenever other keys are published.
    pub(super) generation: u64,
}

/// What asking for newer keys came to.
#[derive(Debug)]
pub(super) enum Newer {
    /// There are others than were seen.
    Other(Arc<Keys>),
    /// The issuer has said, just now, that there are none.
    Same,
    /// Nobody was asked, or there was no good answer in time.
    Unknown,
}

impl Keyring {
    pub(super) fn new(source: Box<dyn KeySource>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            asking: Mutex::default(),
            seen: AtomicU64::new(0),
            seen_since: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    /// The keys, unless the issuer has not been seen to publish them for so long that somebody may be keeping us from it.
    pub(super) fn now(&self) -> Option<Arc<Keys>> {
        let keys = self.keys.load_full()?;
        let unseen = self.clock.now().as_secs().saturating_sub(self.seen.load(Ordering::Relaxed));
        let since = self.begun.elapsed().as_secs().saturating_sub(self.seen_since.load(Ordering::Relaxed));
        (unseen.max(since) < LONGEST_UNSEEN).then_some(keys)
    }

    /// Whether one of these keys signed it, and which generation of them did. With the keys at hand; if none fits or the signature
    /// is wrong, with newer ones, since an issuer may change its keys, even under the same id. That there is no such key is said
    /// only of keys that are fresh.
    pub(super) async fn verify<'a>(
        self: &Arc<Self>,
        token: Compact<'a>,
    ) -> Result<(Signed<'a>, u64), SignatureRefusal> {
        let at_hand = self.now();
        let (token, refusal) = match &at_hand {
            None => (token, SignatureRefusal::Unavailable),
            Some(keys) => match Signed::of(token, &keys.set) {
                Ok(signed) => return Ok((signed, keys.generation)),
                Err(refused) => (refused.0, refused.1.into()),
            },
        };
        match self.newer(at_hand.map(|keys| keys.generation)).await {
            Newer::Other(newer) => {
                let signed = Signed::of(token, &newer.set).map_err(|refused| refused.1)?;
                Ok((signed, newer.generation))
            }
            Newer::Unknown if refusal == SignatureRefusal::Jws(JwsFault::NoKey) => Err(SignatureRefusal::Unavailable),
            Newer::Same | Newer::Unknown => Err(refusal),
        }
    }

    /// Fetches the keys now, and again every five minutes, for ever.
    pub(super) async fn follow(self: &Arc<Self>, issuer: &str) {
        let mut wait = FIRST_RETRY;
        loop {
            match self.refresh().await {
                Ok(keys) => {
                    if keys.set.is_empty() {
                        tracing::warn!(
                            issuer,
                            "the issuer publishes no key that verifies signatures; none of its tokens counts"
                        );
                    }
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

    /// Newer keys than `seen`, if there may be any: asked for once by however many, and after `BURST` times no more
    /// often than each `COOLDOWN`, so that tokens with invented key ids ask the issuer next to nothing.
    pub(super) async fn newer(self: &Arc<Self>, seen: Option<u64>) -> Newer {
        let mut coming = {
            let mut asking = self.lock();
            let now = self.now();
            match now {
                Some(now) if Some(now.generation) != seen => return Newer::Other(now),
                _ => {}
            }
            match asking.coming() {
                Some(coming) => coming,
                None if asking.is_enough(seen.is_some()) => return asking.as_answered(),
                None => self.ask(&mut asking, true),
            }
        };
        let answer = timeout(PATIENCE, coming.wait_for(Option::is_some)).await;
        match answer.ok().and_then(Result::ok).as_deref() {
            Some(Some(Ok(keys))) if Some(keys.generation) != seen => Newer::Other(Arc::clone(keys)),
            Some(Some(Ok(_))) => Newer::Same,
            _ => Newer::Unknown,
        }
    }

    /// Asks now, for no token's sake; keys that are there stay if there is no good answer.
    pub(super) async fn refresh(self: &Arc<Self>) -> Answer {
        let mut coming = {
            let mut asking = self.lock();
            let coming = asking.coming();
            coming.unwrap_or_else(|| self.ask(&mut asking, false))
        };
        let answer = coming.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or(Err(KeyError::Slow))
    }

    /// Asks in a task of its own: who gives up in the middle has asked all the same.
    fn ask(self: &Arc<Self>, asking: &mut Asking, for_token: bool) -> watch::Receiver<Option<Answer>> {
        let (found, coming) = watch::channel(None);
        asking.coming = Some(coming.clone());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let had = this.now().is_some();
            let answer = timeout(LONGEST, this.fetch()).await.unwrap_or(Err(KeyError::Slow));
            this.lock().end(for_token, had, answer.is_ok());
            found.send_replace(Some(answer));
        });
        coming
    }

    async fn fetch(&self) -> Answer {
        let document = self.source.fetch().await?;
        let known = self.keys.load_full().filter(|known| known.document == document);
        let keys = match known {
            Some(known) => known,
            None => {
                let set = KeySet::published(&document)?;
                let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
                Arc::new(Keys { set, document, generation })
            }
        };
        self.seen.store(self.clock.now().as_secs(), Ordering::Relaxed);
        self.seen_since.store(self.begun.elapsed().as_secs(), Ordering::Relaxed);
        self.keys.store(Some(Arc::clone(&keys)));
        Ok(keys)
    }

    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// What is on its way. Of a task that broke off there comes nothing.
    fn coming(&self) -> Option<watch::Receiver<Option<Answer>>> {
        self.coming.clone().filter(|coming| coming.has_changed().is_ok())
    }

    fn is_enough(&mut self, has_keys: bool) -> bool {
        self.asked.retain(|asked| asked.elapsed() < COOLDOWN * BURST);
        let pause = if has_keys { COOLDOWN } else { FIRST_PAUSE };
        let many = !has_keys || self.asked.len() >= BURST as usize;
        many && self.asked.back().is_some_and(|asked| asked.elapsed() < pause)
    }

    /// What is known without asking: an answer that is no older than the next question must be still says that there is no such key.
    fn as_answered(&self) -> Newer {
        match self.answered {
            Some(answered) if answered.elapsed() < COOLDOWN => Newer::Same,
            _ => Newer::Unknown,
        }
    }

    /// Takes note of an answer, or that there is none.
    fn end(&mut self, for_token: bool, had_keys: bool, good: bool) {
        self.coming = None;
        let now = Some(Instant::now());
        if good {
            self.answered = now;
        }
        if good && !had_keys {
            // What was asked before there were keys says nothing about who invents ids of them.
            self.asked.clear();
        } else if for_token {
            self.asked.extend(now);
        }
    }
}

/// So many times tokens make us ask an issuer at once for keys that it did not have, and then each `COOLDOWN`.
const BURST: u32 = 3;
const COOLDOWN: Duration = Duration::from_secs(10);
/// Between two questions, until the first keys are there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a token waits for an answer, which comes for the next one all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take, whatever the source does.
const LONGEST: Duration = Duration::from_secs(60);
/// Seconds for which keys count without being seen at their issuer's.
const LONGEST_UNSEEN: u64 = 24 * 3600;
/// How often keys are fetched without a reason.
const FRESH: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
