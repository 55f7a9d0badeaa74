//! The tokens of one credential: asked for once, kept while they are good, replaced before they end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::digest;
use countermark_credential::Credential;
use countermark_identity::{Clock, UnixTime};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::confirmation::SILENCE;
use super::dpop::Proofs;
use super::error::TokenError;
use super::question::Question;
use super::token::{Bound, BoundToken, jitter};
use super::{Asking, Registration};
use crate::bearer::UnverifiedToken;
use crate::http::Http;
use crate::metadata::{DiscoveryError, ServerMetadata};
use crate::silence::Silence;

/// The tokens that belong to one credential, over connections of their own. Another credential is another `Tokens`.
#[derive(Debug)]
pub struct Tokens {
    registration: Arc<Registration>,
    credential: Arc<Credential>,
    http: Http,
    proofs: Option<Proofs>,
    metadata: OnceCell<ServerMetadata>,
    /// Why there was no metadata, and when: those who waited behind one who asked in vain need not ask, one after another.
    undiscovered: Mutex<Option<(Instant, DiscoveryError)>>,
    /// While the issuer is not asked what tokens are bound to.
    silence: Silence,
    clock: Arc<dyn Clock>,
    slots: ArcSwap<HashMap<Key, Arc<Slot>>>,
    /// Held while a slot is added, never while a token is looked up.
    adding: Mutex<()>,
}

/// One question; for an exchange, about one subject's token.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    question: Question,
    subject: Option<[u8; 32]>,
}

#[derive(Debug, Default)]
struct Slot {
    token: ArcSwapOption<BoundToken>,
    used: AtomicU64,
    replacing: AtomicBool,
    /// Held by the one who asks.
    attempts: tokio::sync::Mutex<Attempts>,
}

/// What came of asking in vain.
#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    last: Option<TokenError>,
    /// By a clock that nobody sets.
    not_before: Option<Instant>,
}

impl Attempts {
    /// The last failure, for as long as the server is left alone for it.
    fn standing(&self) -> Option<&TokenError> {
        self.last.as_ref().filter(|_| self.not_before.is_some_and(|until| Instant::now() < until))
    }
}

/// A token, and whether it was asked for just now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) token: Arc<BoundToken>,
    pub(crate) is_new: bool,
}

impl Tokens {
    /// Asks as `registration` says, presenting `credential`.
    ///
    /// # Errors
    /// The credential or the roots are unusable.
    pub fn new(
        registration: Arc<Registration>,
        credential: Arc<Credential>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TokenError> {
        let http = Http::new(Some(&credential), &registration.roots.now())?;
        let proofs = if registration.dpop { Some(Proofs::new()?) } else { None };
        Ok(Arc::new(Self {
            registration,
            credential,
            http,
            proofs,
            metadata: OnceCell::new(),
            undiscovered: Mutex::default(),
            silence: Silence::default(),
            clock,
            slots: ArcSwap::default(),
            adding: Mutex::new(()),
        }))
    }

    /// The token for this question: the one at hand, or a new one. However many ask at once, the server is asked once; while
    /// it does not answer, a token that still lives is good enough.
    ///
    /// # Errors
    /// [`TokenError`]; after a failure the server is left alone for a while, and the same error is given again.
    pub async fn token(self: &Arc<Self>, question: &Question) -> Result<Arc<BoundToken>, TokenError> {
        self.held(question, None).await.map(|held| held.token)
    }

    /// A token for this question in exchange for another one, on behalf of that one's subject
    /// ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)).
    ///
    /// # Errors
    /// As [`Tokens::token`].
    pub async fn exchange(
        self: &Arc<Self>,
        subject: &UnverifiedToken,
        question: &Question,
    ) -> Result<Arc<BoundToken>, TokenError> {
        self.held(question, Some(subject)).await.map(|held| held.token)
    }

    /// What came of an exchange before, and lives; nobody is asked.
    #[must_use]
    pub fn exchanged(&self, subject: &UnverifiedToken, question: &Question) -> Option<Arc<BoundToken>> {
        let key = Key { question: question.clone(), subject: Some(hash(subject)) };
        let kept = self.slots.load().get(&key)?.token.load_full();
        kept.filter(|token| self.clock.now() < token.not_after())
    }

    pub(crate) async fn held(
        self: &Arc<Self>,
        question: &Question,
        subject: Option<&UnverifiedToken>,
    ) -> Result<Held, TokenError> {
        let now = self.clock.now();
        let slot = self.slot(question, subject, now)?;
        slot.used.store(now.as_secs(), Ordering::Relaxed);
        if let Some(token) = slot.token.load_full().filter(|token| now < token.not_after()) {
            if now >= token.refresh_at() && subject.is_none() && !slot.replacing.swap(true, Ordering::AcqRel) {
                self.replace(Arc::clone(&slot), question.clone());
            }
            return Ok(Held { token, is_new: false });
        }
        // In a task of its own: whoever asked first may go away, and the others wait for the same answer.
        let (this, question, subject) = (Arc::clone(self), question.clone(), subject.cloned());
        let asking = tokio::spawn(async move { this.obtain(&slot, &question, subject.as_ref()).await });
        match asking.await {
            Ok(obtained) => obtained,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(TokenError::Stopped),
            },
        }
    }

    /// Forgets a token that a server refused, if it is still the one that is kept.
    pub(crate) fn forget(&self, question: &Question, refused: &Arc<BoundToken>) {
        self.forget_for(question, None, refused);
    }

    /// Forgets what came of an exchange and was refused, if it is still what is kept.
    pub fn forget_exchanged(&self, subject: &UnverifiedToken, question: &Question, refused: &Arc<BoundToken>) {
        self.forget_for(question, Some(subject), refused);
    }

    fn forget_for(&self, question: &Question, subject: Option<&UnverifiedToken>, refused: &Arc<BoundToken>) {
        let key = Key { question: question.clone(), subject: subject.map(hash) };
        if let Some(slot) = self.slots.load().get(&key) {
            let kept = slot.token.load();
            if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, refused)) {
                slot.token.store(None);
            }
        }
    }

    /// What was asked for, and had, within `window` before now.
    pub(crate) fn recent(&self, window: Duration) -> Vec<Question> {
        let now = self.clock.now();
        let since = now.saturating_sub(window).as_secs();
        let slots = self.slots.load();
        // What was asked for in vain does not hold up the next generation.
        let had = |slot: &Slot| slot.token.load().as_ref().is_some_and(|token| now < token.not_after());
        let recent = slots
            .iter()
            .filter(|(key, slot)| key.subject.is_none() && slot.used.load(Ordering::Relaxed) >= since && had(slot));
        recent.map(|(key, _)| key.question.clone()).collect()
    }

    /// The credential that these tokens belong to.
    #[must_use]
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    pub(crate) fn proofs(&self) -> Option<&Proofs> {
        self.proofs.as_ref()
    }

    /// What the authorization server says of itself.
    ///
    /// # Errors
    /// It is not to be found, or is not who it should be.
    pub async fn metadata(&self) -> Result<&ServerMetadata, DiscoveryError> {
        let Registration { issuer, named, .. } = &*self.registration;
        let undiscovered = || self.undiscovered.lock().unwrap_or_else(PoisonError::into_inner);
        let discover = async || {
            let metadata = ServerMetadata::discover(&self.http, issuer).await?;
            if *named {
                metadata.require_at_home()?;
            }
            Ok(metadata)
        };
        let found = async || {
            if let Some((_, error)) = undiscovered().as_ref().filter(|(at, _)| at.elapsed() < REDISCOVERY) {
                return Err(error.clone());
            }
            discover()
                .await
                .inspect_err(|error: &DiscoveryError| *undiscovered() = Some((Instant::now(), error.clone())))
        };
        self.metadata.get_or_try_init(found).await
    }

    /// Ends every token that is kept ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)), as a process may before it stops.
    ///
    /// # Errors
    /// The last failure; the others were tried all the same.
    pub async fn revoke_all(&self) -> Result<(), TokenError> {
        if self.slots.load().values().all(|slot| slot.token.load().is_none()) {
            return Ok(());
        }
        let metadata = self.metadata().await?;
        let endpoint = metadata.revocation_endpoint()?;
        let mut outcome = Ok(());
        for slot in self.slots.load().values() {
            let Some(token) = slot.token.swap(None) else { continue };
            if let Err(error) = self.asking(metadata).revoke(endpoint, &token).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    fn slot(
        &self,
        question: &Question,
        subject: Option<&UnverifiedToken>,
        now: UnixTime,
    ) -> Result<Arc<Slot>, TokenError> {
        // No question is copied where the answer is at hand.
        let key = Key { question: question.clone(), subject: subject.map(hash) };
        if let Some(slot) = self.slots.load().get(&key) {
            return Ok(Arc::clone(slot));
        }
        let _one = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = HashMap::clone(&self.slots.load());
        if slots.len() >= MOST {
            make_room(&mut slots, now)?;
        }
        let slot = Arc::clone(slots.entry(key).or_default());
        self.slots.store(Arc::new(slots));
        Ok(slot)
    }

    /// Replaces a token that still lives, behind its users' backs.
    fn replace(self: &Arc<Self>, slot: Arc<Slot>, question: Question) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut attempts = slot.attempts.lock().await;
            if attempts.standing().is_none()
                && let Err(error) = this.attempt(&slot, &mut attempts, &question, None).await
            {
                tracing::warn!(issuer = this.registration.issuer, %question, %error, "the token could not be replaced; the old one is used while it lives");
            }
            slot.replacing.store(false, Ordering::Release);
        });
    }

    async fn obtain(
        &self,
        slot: &Slot,
        question: &Question,
        subject: Option<&UnverifiedToken>,
    ) -> Result<Held, TokenError> {
        let mut attempts = slot.attempts.lock().await;
        let now = self.clock.now();
        if let Some(token) = slot.token.load_full().filter(|token| now < token.not_after()) {
            return Ok(Held { token, is_new: true });
        }
        if let Some(error) = attempts.standing() {
            return Err(error.clone());
        }
        let token = self.attempt(slot, &mut attempts, question, subject).await?;
        Ok(Held { token, is_new: true })
    }

    async fn attempt(
        &self,
        slot: &Slot,
        attempts: &mut Attempts,
        question: &Question,
        subject: Option<&UnverifiedToken>,
    ) -> Result<Arc<BoundToken>, TokenError> {
        match self.ask(question, subject).await {
            Ok(token) => {
                let token = Arc::new(token);
                *attempts = Attempts::default();
                slot.token.store(Some(Arc::clone(&token)));
                tracing::debug!(issuer = self.registration.issuer, %question, not_after = %token.not_after(), "a token was issued to us");
                Ok(token)
            }
            Err(error) => {
                attempts.failed = attempts.failed.saturating_add(1);
                attempts.last = Some(error.clone());
                let wait = (1_u64 << attempts.failed.min(6)).min(LONGEST_WAIT);
                attempts.not_before = Some(Instant::now() + Duration::from_secs(wait / 2 + jitter(wait / 2)));
                Err(error)
            }
        }
    }

    async fn ask(&self, question: &Question, subject: Option<&UnverifiedToken>) -> Result<BoundToken, TokenError> {
        let metadata = self.metadata().await?;
        let endpoint = metadata.token_endpoint(true)?;
        let asking = self.asking(metadata);
        let fresh = match subject {
            None => asking.client_credentials(endpoint, question).await?,
            Some(subject) => asking.exchange(endpoint, question, subject).await?,
        };
        let mut token = BoundToken::examine(fresh, &self.credential, self.thumbprint(), self.clock.now())?;
        if token.binding() == Bound::Unknown {
            self.confirm(metadata, &mut token).await?;
        }
        Ok(token)
    }

    /// Has an opaque token's issuer say what it is bound to. It need not; after no answer at all one that is configured is not
    /// asked for [`SILENCE`].
    async fn confirm(&self, metadata: &ServerMetadata, token: &mut BoundToken) -> Result<(), TokenError> {
        let Registration { issuer, named, .. } = &*self.registration;
        if !named && self.silence.lasts() {
            return Ok(());
        }
        match self.asking(metadata).confirmation(metadata, token).await {
            Ok(claims) => token.confirm(&claims, &self.credential, self.thumbprint())?,
            Err(error) => {
                if *named || error.is_refusal() || self.silence.begin(SILENCE) {
                    tracing::warn!(
                        issuer,
                        %error,
                        "the token is opaque, and its issuer does not tell us what it is bound to: it is used unexamined"
                    );
                }
            }
        }
        Ok(())
    }

    /// The key that tokens are bound to where it is not the certificate's.
    fn thumbprint(&self) -> Option<&str> {
        self.proofs.as_ref().map(Proofs::thumbprint)
    }

    fn asking<'a>(&'a self, metadata: &'a ServerMetadata) -> Asking<'a> {
        let Registration { issuer, client, authentication, .. } = &*self.registration;
        let algorithms = &metadata.token_endpoint_auth_signing_alg_values_supported[..];
        let (credential, http, proofs) = (&*self.credential, &self.http, self.proofs.as_ref());
        Asking { issuer, client, authentication, algorithms, credential, http, proofs, now: self.clock.now() }
    }
}

/// Forgets what has ended, and if that is nothing, the exchange that was used the longest time ago; never what somebody
/// waits for.
fn make_room(slots: &mut HashMap<Key, Arc<Slot>>, now: UnixTime) -> Result<(), TokenError> {
    let waited_for = |slot: &Arc<Slot>| Arc::strong_count(slot) > 2;
    let lives = |slot: &Slot| slot.token.load().as_ref().is_some_and(|token| now < token.not_after());
    slots.retain(|_, slot| waited_for(slot) || lives(slot));
    if slots.len() < MOST {
        return Ok(());
    }
    let exchanges = slots.iter().filter(|(key, slot)| key.subject.is_some() && !waited_for(slot));
    let oldest = exchanges.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed)).map(|(key, _)| key.clone());
    let oldest = oldest.ok_or(TokenError::Questions { limit: MOST })?;
    slots.remove(&oldest);
    Ok(())
}

fn hash(token: &UnverifiedToken) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.expose().as_bytes()).as_ref());
    hash
}

/// Questions of one credential; exchanges count for each subject's token.
const MOST: usize = 4096;
/// Seconds.
const LONGEST_WAIT: u64 = 60;
/// How long a discovery that failed stands for those who waited for it.
const REDISCOVERY: Duration = Duration::from_secs(1);
