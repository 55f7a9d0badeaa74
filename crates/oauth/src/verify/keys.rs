//! An issuer's keys, kept fresh: fetched in the background, and once more when a token names one that is not there.

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
    /// When was last asked; held while somebody asks, so that the others wait for that answer.
    asked: Mutex<Option<Instant>>,
}

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
        Self { source, keys: ArcSwapOption::empty(), generation: AtomicU64::new(0), asked: Mutex::new(None) }
    }

    pub(super) fn now(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Newer keys than `seen`, if there may be any: asked for once by however many, and no sooner than `COOLDOWN` after the
    /// last time, so that tokens with invented key ids ask the issuer nothing.
    pub(super) async fn newer(&self, seen: Option<u64>) -> Option<Arc<Keys>> {
        let mut asked = self.asked.lock().await;
        let now = self.now();
        if now.as_ref().map(|keys| keys.generation) != seen {
            return now;
        }
        let cooldown = if now.is_some() { COOLDOWN } else { Duration::from_secs(1) };
        if asked.is_some_and(|last| last.elapsed() < cooldown) {
            return None;
        }
        self.fetch(&mut asked).await.ok().filter(|keys| Some(keys.generation) != seen)
    }

    /// Asks now; keys that are there stay if there is no good answer.
    pub(super) async fn refresh(&self) -> Result<Arc<Keys>, KeyError> {
        let mut asked = self.asked.lock().await;
        self.fetch(&mut asked).await
    }

    async fn fetch(&self, asked: &mut Option<Instant>) -> Result<Arc<Keys>, KeyError> {
        let answer = self.source.fetch().await;
        *asked = Some(Instant::now());
        let document = answer?;
        if let Some(known) = self.now().filter(|known| known.document == document) {
            return Ok(known);
        }
        let set = KeySet::parse(&document)?;
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let keys = Arc::new(Keys { set, document, generation });
        self.keys.store(Some(Arc::clone(&keys)));
        Ok(keys)
    }
}

/// How soon an issuer is asked again for a key that it did not have.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Bytes of a JWKS.
const LARGEST: usize = 256 * 1024;
