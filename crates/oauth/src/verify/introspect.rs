//! Asking an issuer what a token is. [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

mod answers;
mod shares;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countermark_identity::{AgentId, Clock, Secret, UnixTime};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};

use self::answers::Answers;
use self::shares::Shares;
use super::refusal::TokenRefusal;
use crate::client::{Asking, ClientAuthentication};
use crate::http::{FollowingHttp, HttpError};
use crate::introspection::DEPTH;
use crate::jose::json::{Object, Value};
use crate::metadata::{DiscoveryError, ServerMetadata};
use crate::silence::Silence;

/// How we ask an issuer about tokens.
#[derive(Debug)]
pub struct Introspector {
    http: Arc<FollowingHttp>,
    issuer: String,
    client: String,
    authentication: ClientAuthentication,
    clock: Arc<dyn Clock>,
    metadata: OnceCell<ServerMetadata>,
    /// What was answered, and what is being asked.
    answers: Mutex<Answers>,
    /// How many may ask at one time; the others wait for a moment.
    asking: Semaphore,
    /// How many of them for one agent: tokens are easily invented.
    shares: Shares,
    /// While the server is left alone after it did not answer.
    silence: Silence,
    /// While nobody is told again that a question failed.
    told: Silence,
    /// How long an answer holds: how long a token outlives its revocation.
    pub(super) ttl: Duration,
    /// Asks about signed tokens, too, so that revoked ones are refused before they end.
    pub(super) always: bool,
}

impl Introspector {
    /// Asks `issuer` as its client `client`, which may well be the certificate alone.
    #[must_use]
    pub fn new(
        http: Arc<FollowingHttp>,
        issuer: impl Into<String>,
        client: impl Into<String>,
        authentication: ClientAuthentication,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (issuer, client) = (issuer.into(), client.into());
        Self {
            http,
            issuer,
            client,
            authentication,
            clock,
            metadata: OnceCell::new(),
            answers: Mutex::default(),
            asking: Semaphore::new(AT_ONCE),
            shares: Shares::default(),
            silence: Silence::default(),
            told: Silence::default(),
            ttl: Duration::from_secs(10),
            always: false,
        }
    }

    /// How long an answer holds; a revoked token passes for that long. Ten seconds by default.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Asks about signed tokens, too.
    #[must_use]
    pub const fn for_every_token(mut self) -> Self {
        self.always = true;
        self
    }

    /// What the issuer says of the token, within [`LONGEST`] of the call. However many ask at once, it is asked once, and within
    /// [`Self::ttl`] not again, unless it gave no answer.
    pub(super) async fn ask(self: &Arc<Self>, token: &str, agent: &AgentId) -> Answer {
        let answered = tokio::time::timeout(LONGEST, self.answered(token, agent)).await;
        answered.ok().flatten().unwrap_or_else(|| Answer::none(self.clock.now()))
    }

    async fn answered(self: &Arc<Self>, token: &str, agent: &AgentId) -> Option<Answer> {
        let key = answers::Key::of(token);
        let known = || self.answers().known(&key, self.clock.now(), self.ttl);
        let mut answer = match known() {
            Some(answer) => answer,
            // Whoever waits here has asked nothing, and leaves nothing behind.
            None => match tokio::time::timeout(PATIENCE, self.shares.take(agent)).await {
                Ok(share) => {
                    let share = share?;
                    self.answers().answer(key, self.clock.now(), self.ttl, |found| self.start(token, share, found))
                }
                // Somebody else may have had one for the same question meanwhile.
                Err(_) => known()?,
            },
        };
        // Nobody answers any more where the runtime ends.
        answer.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Asks in a task of its own: whoever came first may go away, and the others wait for the same answer.
    fn start(self: &Arc<Self>, token: &str, share: OwnedSemaphorePermit, found: watch::Sender<Option<Answer>>) {
        let (this, token) = (Arc::clone(self), Secret::new(token.to_owned()));
        tokio::spawn(async move {
            let _until_it_is_answered = share;
            let asked = this.clock.now();
            let said = tokio::time::timeout(LONGEST, this.said(token.expose())).await;
            let said = said.unwrap_or_else(|_| Err(this.unanswered("no answer in time", PAUSE)));
            let answer = match said {
                Ok(said) => Answer { said: Ok(Arc::new(said)), until: asked.saturating_add(this.ttl) },
                Err(refusal @ TokenRefusal::Inactive) => {
                    Answer { said: Err(refusal), until: asked.saturating_add(this.ttl.min(NEGATIVE)) }
                }
                Err(refusal) => Answer { said: Err(refusal), until: asked },
            };
            found.send_replace(Some(answer));
        });
    }

    /// What the issuer says of the token, if it calls it active.
    async fn said(&self, token: &str) -> Result<Said, TokenRefusal> {
        let place = tokio::time::timeout(PATIENCE, self.asking.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(UNAVAILABLE) };
        if self.silence.lasts() {
            return Err(UNAVAILABLE);
        }
        let answer = self.exchange(token).await.map_err(|error| {
            let pause = match &error {
                DiscoveryError::Http(HttpError::Status { status: 401 | 429 | 500.., retry_after, .. }) => {
                    retry_after.unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE)
                }
                // It is about this one question, which somebody may have made up; the next is another's.
                DiscoveryError::Http(HttpError::Status { .. }) => Duration::ZERO,
                DiscoveryError::Http(HttpError::Long { .. }) if self.metadata.initialized() => Duration::ZERO,
                _ => PAUSE,
            };
            self.unanswered(&error, pause)
        })?;
        let said = Said(answer);
        let active = match said.claims().as_ref().ok().and_then(|claims| claims.get("active")) {
            Some(Value::Bool(active)) => *active,
            _ => {
                let pause = if said.is_json() { Duration::ZERO } else { PAUSE };
                return Err(self.unanswered("the answer does not say whether the token is active", pause));
            }
        };
        if active { Ok(said) } else { Err(TokenRefusal::Inactive) }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the server alone for a while, and says why: once for all who hear it together.
    fn unanswered(&self, error: impl fmt::Display, pause: Duration) -> TokenRefusal {
        self.silence.begin(pause);
        if self.told.begin(pause.max(PAUSE)) {
            tracing::warn!(issuer = self.issuer, %error, ?pause, "introspection failed");
        }
        UNAVAILABLE
    }

    async fn exchange(&self, token: &str) -> Result<Secret<Vec<u8>>, DiscoveryError> {
        let (credential, http) = self.http.now()?;
        let metadata = self.metadata.get_or_try_init(|| ServerMetadata::discover(&http, &self.issuer)).await?;
        let endpoint = metadata.introspection_endpoint()?;
        let algorithms = &metadata.token_endpoint_auth_signing_alg_values_supported[..];
        let asking = Asking {
            issuer: &self.issuer,
            client: &self.client,
            authentication: &self.authentication,
            algorithms,
            credential: &credential,
            http: &http,
            proofs: None,
            now: self.clock.now(),
        };
        Ok(asking.introspection(endpoint, token).await?)
    }
}

/// What an issuer said of a token, and how long that holds.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) said: Result<Arc<Said>, TokenRefusal>,
    pub(super) until: UnixTime,
}

/// The answer itself, as it came.
pub(super) struct Said(Secret<Vec<u8>>);

impl Said {
    pub(super) fn claims(&self) -> Result<Object<'_>, TokenRefusal> {
        Object::parse(self.0.expose(), DEPTH).ok_or(UNAVAILABLE)
    }

    /// Whether the server has answered at all, however unreadable for us: what is in the answer may be the token's doing.
    fn is_json(&self) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(self.0.expose()).is_ok()
    }
}

impl Answer {
    fn none(now: UnixTime) -> Self {
        Self { said: Err(UNAVAILABLE), until: now }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What an issuer says of a person is nobody's to read in a log.
        f.debug_struct("Answer").field("until", &self.until).finish_non_exhaustive()
    }
}

/// How long a token that is not active is not asked about again, at most.
const NEGATIVE: Duration = Duration::from_secs(10);
const UNAVAILABLE: TokenRefusal = TokenRefusal::Unavailable("introspection");
/// How long whoever asks waits, and how long a question takes, whatever the server does.
const LONGEST: Duration = Duration::from_secs(5);
/// Requests to one issuer at one time.
const AT_ONCE: usize = 64;
/// How long a place, and one of the agent's share, is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a server that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is left alone at its own wish, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use countermark_credential::Source as _;
    use countermark_testkit::{TestCa, TestSource};
    use tokio::time::{Instant, sleep};

    use super::*;

    fn agent() -> AgentId {
        AgentId::new(&"agents.internal".parse().unwrap(), "a").unwrap()
    }

    /// Asks an issuer that takes every connection and says nothing.
    fn asking() -> (Arc<Introspector>, std::net::TcpListener) {
        let ca = TestCa::new("agents.internal");
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("https://localhost:{}", mute.local_addr().unwrap().port());
        let source = TestSource::new(ca.server("ledger"));
        let http = FollowingHttp::new(source.watch(), ca.bundle().roots().to_vec());
        let clock = Arc::new(ca.clock().clone());
        let http = Arc::new(http.unwrap());
        (Arc::new(Introspector::new(http, issuer, "ledger", ClientAuthentication::Certificate, clock)), mute)
    }

    async fn every_share(asking: &Introspector) -> Vec<OwnedSemaphorePermit> {
        let mut held = Vec::new();
        while let Ok(share) = tokio::time::timeout(Duration::from_millis(1), asking.shares.take(&agent())).await {
            held.extend(share);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_share_is_part_of_the_longest() {
        let ((asking, _mute), agent) = (asking(), agent());
        let mut held = every_share(&asking).await;
        let began = Instant::now();
        let freed = async {
            sleep(PATIENCE - Duration::from_millis(100)).await;
            held.pop();
        };
        let (answer, ()) = tokio::join!(asking.ask("token", &agent), freed);
        assert!(matches!(answer.said, Err(TokenRefusal::Unavailable(_))));
        assert!(began.elapsed() > PATIENCE && began.elapsed() <= LONGEST + Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_another_got_meanwhile_is_taken_without_a_share() {
        let ((asking, _mute), agent) = (asking(), agent());
        let _held = every_share(&asking).await;
        let another = async {
            sleep(PATIENCE / 2).await;
            let mut asked = None;
            let (key, now) = (answers::Key::of("token"), asking.clock.now());
            asking.answers().answer(key, now, asking.ttl, |found| asked = Some(found));
            sleep(PATIENCE).await;
            let said = Ok(Arc::new(Said(Secret::new(b"{}".to_vec()))));
            asked.unwrap().send_replace(Some(Answer { said, until: now.saturating_add(asking.ttl) }));
        };
        let (answer, ()) = tokio::join!(asking.ask("token", &agent), another);
        assert!(answer.said.is_ok());
        let began = Instant::now();
        assert!(asking.ask("other", &agent).await.said.is_err());
        assert!(began.elapsed() < LONGEST, "nobody asks for that one");
    }

    #[test]
    fn what_we_cannot_read_may_be_an_answer_all_the_same() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let is_json = |text: &str| Said(Secret::new(text.as_bytes().to_vec())).is_json();
        assert!(["{}", "[]", r#"{"a":1,"a":1}"#, r#"{"a":1e999}"#, &deep].into_iter().all(is_json));
        assert!(!["", "<html>", "{", "{} x"].into_iter().any(is_json));
    }
}
