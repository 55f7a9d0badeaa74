//! A credential with its tokens and its connections: replaced as one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use countermark_credential::Credential;
use countermark_identity::{Clock, UnixTime};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::TokenError;
use super::tokens::Tokens;
use super::{Question, Registration};
use crate::http::{Http, Roots};

/// A credential, the connections that present it (`C`) and the tokens that are bound to it.
///
/// Whoever makes a request takes one generation and uses its connection with its token. Neither is of use with another
/// generation's: [RFC 8705 §3](https://www.rfc-editor.org/rfc/rfc8705#section-3) binds the two, and
/// [§6.3](https://www.rfc-editor.org/rfc/rfc8705#section-6.3) ends the token with the certificate.
#[derive(Debug)]
pub struct Generation<C> {
    number: u64,
    tokens: Arc<Tokens>,
    carrier: C,
}

impl<C> Generation<C> {
    /// Counted from 1 in this process.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Its tokens.
    #[must_use]
    pub const fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// When it is given up.
    fn ends(&self) -> UnixTime {
        ends(&self.tokens)
    }

    /// What its requests are carried by.
    #[must_use]
    pub const fn carrier(&self) -> &C {
        &self.carrier
    }
}

/// The newest generation that is ready: it follows a credential, but only once the tokens that are in use have been had
/// with the next one. Until then, and while requests are under way, the old one serves.
pub struct Generations<C> {
    current: ArcSwap<Generation<C>>,
    /// The one before, while its certificate lives; where nobody wants it, nothing.
    earlier: ArcSwapOption<Generation<C>>,
    keeps_earlier: bool,
    /// Tokens of generations that were replaced, for as long as they can be ended; where `earlier` is kept, of none.
    past: Mutex<Vec<Arc<Tokens>>>,
    credential: watch::Receiver<Arc<Credential>>,
    registration: Arc<Registration>,
    clock: Arc<dyn Clock>,
    build: Build<C>,
}

type Build<C> = Box<dyn Fn(&Arc<Credential>) -> Result<C, TokenError> + Send + Sync>;

impl Generations<reqwest::Client> {
    /// For users of reqwest: each generation's carrier is a client that presents its credential to servers under `roots`.
    ///
    /// # Errors
    /// The credential or the roots are unusable.
    pub fn of_reqwest(
        credential: watch::Receiver<Arc<Credential>>,
        registration: Registration,
        roots: impl Into<Roots>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TokenError> {
        let roots = roots.into();
        let build = move |credential: &Arc<Credential>| Ok(Http::new(Some(credential), &roots.now())?.into_reqwest());
        Self::new(credential, registration, clock, build)
    }
}

impl<C: Send + Sync + 'static> Generations<C> {
    /// Starts with the credential that is there; `build` makes what carries requests under a credential, and nothing that it
    /// makes may outlive that credential's generation.
    ///
    /// # Errors
    /// The credential or the roots are unusable.
    pub fn new(
        credential: watch::Receiver<Arc<Credential>>,
        registration: Registration,
        clock: Arc<dyn Clock>,
        build: impl Fn(&Arc<Credential>) -> Result<C, TokenError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TokenError> {
        Ok(Arc::new(Self::start(credential, registration, clock, Box::new(build))?))
    }

    /// [`Generations::new`] for whoever falls back on [`earlier`](Self::earlier).
    ///
    /// # Errors
    /// As [`Generations::new`].
    pub fn keeping_earlier(
        credential: watch::Receiver<Arc<Credential>>,
        registration: Registration,
        clock: Arc<dyn Clock>,
        build: impl Fn(&Arc<Credential>) -> Result<C, TokenError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TokenError> {
        let mut this = Self::start(credential, registration, clock, Box::new(build))?;
        this.keeps_earlier = true;
        Ok(Arc::new(this))
    }

    fn start(
        credential: watch::Receiver<Arc<Credential>>,
        registration: Registration,
        clock: Arc<dyn Clock>,
        build: Build<C>,
    ) -> Result<Self, TokenError> {
        let registration = Arc::new(registration);
        let newest = credential.borrow().clone();
        let carrier = build(&newest)?;
        let tokens = Tokens::new(Arc::clone(&registration), newest, Arc::clone(&clock))?;
        let current = ArcSwap::from_pointee(Generation { number: 1, tokens, carrier });
        let earlier = ArcSwapOption::empty();
        Ok(Self {
            current,
            earlier,
            keeps_earlier: false,
            past: Mutex::default(),
            credential,
            registration,
            clock,
            build,
        })
    }

    /// The generation to use for a request, from its token to its answer.
    #[must_use]
    pub fn current(&self) -> Arc<Generation<C>> {
        self.current.load_full()
    }

    /// The generation before, while its certificate lives: for what cannot be asked for ahead of the next one, as what callers'
    /// tokens are exchanged for.
    #[must_use]
    pub fn earlier(&self) -> Option<Arc<Generation<C>>> {
        self.earlier.load_full().filter(|earlier| self.clock.now() < earlier.ends())
    }

    /// Ends every token that is kept, also those of earlier generations whose certificates live, all within five seconds.
    ///
    /// # Errors
    /// As [`Tokens::revoke_all`], or there was not time enough for all.
    pub async fn revoke_all(&self) -> Result<(), TokenError> {
        let now = self.clock.now();
        let mut all: Vec<Arc<Tokens>> = self.past().iter().filter(|tokens| now < ends(tokens)).cloned().collect();
        all.extend(self.earlier().map(|earlier| Arc::clone(&earlier.tokens)));
        all.push(Arc::clone(&self.current().tokens));
        let ended = join_all(all.iter().map(|tokens| tokens.revoke_all()));
        let slow = |_| TokenError::Slow { issuer: self.registration.issuer.clone(), patience: REVOCATION };
        tokio::time::timeout(REVOCATION, ended).await.map_err(slow)?.into_iter().collect()
    }

    fn past(&self) -> MutexGuard<'_, Vec<Arc<Tokens>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the credential until `shutdown`.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.replace_whenever_it_changes()).await;
    }

    async fn replace_whenever_it_changes(&self) {
        let mut newest = self.credential.clone();
        // What came between the start and now.
        newest.mark_changed();
        while self.changed(&mut newest).await {
            let next = newest.borrow_and_update().clone();
            if !Arc::ptr_eq(&next, self.current().tokens.credential()) {
                self.replace(next, &mut newest).await;
            }
        }
    }

    /// Waits for another credential, and forgets the generation before when it ends; whether there will be one.
    async fn changed(&self, newest: &mut watch::Receiver<Arc<Credential>>) -> bool {
        loop {
            let Some(earlier) = self.earlier.load_full() else { return newest.changed().await.is_ok() };
            let left = earlier.ends().duration_since(self.clock.now());
            if left.is_zero() {
                self.earlier.store(None);
                continue;
            }
            drop(earlier);
            // Not all at once: a clock may be set.
            if let Ok(changed) = tokio::time::timeout(left.min(LAST_WAIT), newest.changed()).await {
                return changed.is_ok();
            }
        }
    }

    /// Stages `next` until it is ready, the old one ends, or a newer one is there.
    async fn replace(&self, mut next: Arc<Credential>, newest: &mut watch::Receiver<Arc<Credential>>) {
        let mut wait = FIRST_WAIT;
        loop {
            let old = self.current();
            let ends = old.ends();
            let left = ends.duration_since(self.clock.now());
            let staged = self.stage(&next, old.number + 1, &old.tokens.recent(LATELY), left.max(FIRST_WAIT)).await;
            match staged {
                Ok(ready) => return self.publish(ready),
                Err(Unready { error, without_tokens: Some(unready) }) if self.clock.now() >= ends => {
                    tracing::error!(%error, "the old certificate ends: its successor is used although it has no token yet");
                    return self.publish(unready);
                }
                Err(Unready { error, .. }) => tracing::warn!(
                    %error,
                    "the next generation is not ready; the old one is used until {ends}"
                ),
            }
            // Not past the end: what is not ready by then is used all the same.
            let pause = wait.min(ends.duration_since(self.clock.now())).max(FIRST_WAIT);
            wait = (wait * 2).min(LAST_WAIT);
            let woken = async {
                // Nobody is left who could bring a newer one.
                if newest.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            if tokio::time::timeout(pause, woken).await.is_ok() {
                next = newest.borrow_and_update().clone();
                wait = FIRST_WAIT;
            }
        }
    }

    /// The next generation with a token for every question that was asked lately; each is checked against its certificate.
    async fn stage(
        &self,
        credential: &Arc<Credential>,
        number: u64,
        questions: &[Question],
        patience: Duration,
    ) -> Result<Generation<C>, Unready<C>> {
        let unusable = |error| Unready { error, without_tokens: None };
        let carrier = (self.build)(credential).map_err(unusable)?;
        let tokens = Tokens::new(Arc::clone(&self.registration), Arc::clone(credential), Arc::clone(&self.clock));
        let tokens = tokens.map_err(unusable)?;
        let generation = Generation { number, tokens, carrier };
        let asked = try_join_all(questions.iter().map(|question| generation.tokens.token(question)));
        let error = match tokio::time::timeout(patience, asked).await {
            Ok(Ok(_)) => return Ok(generation),
            Ok(Err(error)) => error,
            Err(_) => TokenError::Slow { issuer: self.registration.issuer.clone(), patience },
        };
        Err(Unready { error, without_tokens: Some(generation) })
    }

    fn publish(&self, generation: Generation<C>) {
        let serial = generation.tokens.credential().leaf().serial().to_string();
        tracing::info!(generation = generation.number, serial, "certificate and tokens were replaced as one");
        let before = self.current.swap(Arc::new(generation));
        if !self.keeps_earlier {
            let (mut past, now) = (self.past(), self.clock.now());
            past.retain(|tokens| now < ends(tokens));
            past.push(Arc::clone(&before.tokens));
            let too_many = past.len().saturating_sub(MOST_PAST);
            past.drain(..too_many);
        }
        self.earlier.store(self.keeps_earlier.then_some(before));
    }
}

/// When tokens are given up with their certificate: a little before that ends.
fn ends(tokens: &Tokens) -> UnixTime {
    tokens.credential().leaf().not_after().saturating_sub(RESERVE)
}

/// What could not be staged.
struct Unready<C> {
    error: TokenError,
    /// The generation as far as it came, if its certificate is of use.
    without_tokens: Option<Generation<C>>,
}

impl<C> fmt::Debug for Generations<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations").field("registration", &self.registration).finish_non_exhaustive()
    }
}

/// How far back a question is taken to be in use.
const LATELY: Duration = Duration::from_secs(300);
/// How long before its end the old certificate is given up.
const RESERVE: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// How long the end of all tokens may take.
const REVOCATION: Duration = Duration::from_secs(5);
/// Generations that were replaced and are remembered; those before them end by themselves.
const MOST_PAST: usize = 16;
