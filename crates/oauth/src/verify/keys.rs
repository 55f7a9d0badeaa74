//! An issuer's keys, kept fresh: fetched in the background, and once more when a token names one that is not there.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::FollowingHttp;
use crate::jose::{KeySet, KeySetError};
use crate::metadata::{DiscoveryError, ServerMetadata};

/// Where an issuer's JWKS comes from.
pub trait KeySource: Send + Sync + std::fmt::Debug {
    /// Fetches the document.
    fn fetch(&self) -> FetchedKeys<'_>;
}

/// The document, once it is there.
pub type FetchedKeys<'a> = Pin<Box<dyn Future<Output = Result<Bytes, KeyError>> + Send + 'a>>;

/// Why an issuer's keys are not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing usable is in the document.
    #[error("the issuer's keys cannot be used: {0}")]
    Keys(#[from] KeySetError),
    /// Whoever publishes the keys is not to be found or does not answer.
    #[error(transparent)]
    Source(#[from] DiscoveryError),
    /// A file cannot be read.
    #[error("{0}")]
    File(String),
}

/// The keys that an issuer publishes: where its metadata says, or at a URL that is known.
#[derive(Debug)]
pub struct PublishedKeys {
    http: Arc<FollowingHttp>,
    issuer: String,
}

impl PublishedKeys {
    /// Asks the issuer's metadata each time, since the URL may move with it.
    #[must_use]
    pub fn new(http: Arc<FollowingHttp>, issuer: impl Into<String>) -> Self {
        Self { http, issuer: issuer.into() }
    }
}

impl KeySource for PublishedKeys {
    fn fetch(&self) -> FetchedKeys<'_> {
        Box::pin(async {
            let (_, http) = self.http.now().map_err(DiscoveryError::from)?;
            let metadata = ServerMetadata::discover(&http, &self.issuer).await?;
            Ok(http.get(metadata.jwks_uri()?, LARGEST).await.map_err(DiscoveryError::from)?)
        })
    }
}

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
/// Bytes of a JWKS.
const LARGEST: usize = 256 * 1024;
