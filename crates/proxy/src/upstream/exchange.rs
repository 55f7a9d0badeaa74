//! Tokens for the server behind: the caller's is exchanged for one of guard's ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)), never passed on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use countermark_mcp::Caller;
use countermark_oauth::{BoundToken, Generation, Generations, Question, TokenError, UnverifiedToken};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::http::{Http, HttpBody, HttpError};
use super::paced::Paced;

/// Calls the server behind with tokens that callers' were exchanged for: each over a connection of the generation of guard's
/// certificate that its token is bound to.
#[derive(Debug)]
pub(crate) struct Exchange {
    generations: Arc<Generations<Http>>,
    question: Question,
    slow: Slow,
}

impl Exchange {
    pub(crate) fn new(generations: Arc<Generations<Http>>, question: Question) -> Self {
        Self { generations, question, slow: Slow::default() }
    }

    /// With a token for the upstream; without one of the caller's there is nothing to exchange. A refusal of guard's token is
    /// guard's own affair: it is tried once more with a fresh one, and never handed to the caller, who would take it for a
    /// refusal of its own. A token that was young when it was sent is refused for another reason than its age, and no fresh one is
    /// asked for: an upstream that refuses everything costs one request for a token in so long as tokens are young.
    pub(crate) async fn call(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Paced<HttpBody>>, HttpError> {
        let caller = Caller::of(request.extensions());
        let Some(subject) = caller.as_ref().and_then(Caller::subject_token) else {
            return self.generations.current().carrier().call(request).await;
        };
        let (generation, token) = self.token(subject).await?;
        let young = token.is_young();
        let mut again = request.clone();
        request.headers_mut().insert(AUTHORIZATION, token.header());
        let response = generation.carrier().call(request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return not_for_lack(response);
        }
        let newest = self.generations.current();
        if young && Arc::ptr_eq(&newest, &generation) {
            return Err(HttpError::TokenRefused);
        }
        generation.tokens().forget_exchanged(subject, &self.question, &token);
        let fresh = newest.tokens().exchange(subject, &self.question).await.map_err(HttpError::Token)?;
        again.headers_mut().insert(AUTHORIZATION, fresh.header());
        let response = newest.carrier().call(again).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            Err(HttpError::TokenRefused)
        } else {
            not_for_lack(response)
        }
    }

    /// A token, and the generation that it is bound to: the current one, or where that has none because nobody answers, the one
    /// before with what it still holds. Who has that to fall back on does not wait for long.
    async fn token(&self, subject: &UnverifiedToken) -> Result<(Arc<Generation<Http>>, Arc<BoundToken>), HttpError> {
        let current = self.generations.current();
        let asked = current.tokens().exchange(subject, &self.question);
        let held = self.generations.earlier().and_then(|earlier| {
            let token = earlier.tokens().exchanged(subject, &self.question)?;
            Some((earlier, token))
        });
        let Some(held) = held else { return Ok((Arc::clone(&current), asked.await.map_err(HttpError::Token)?)) };
        // Who gives up has asked all the same.
        match tokio::time::timeout(self.slow.patience(), asked).await {
            Ok(Ok(token)) => Ok((current, token)),
            Ok(Err(refused @ TokenError::Refused { .. })) => Err(HttpError::Token(refused)),
            Ok(Err(_)) => Ok(held),
            Err(_) => {
                self.slow.found();
                Ok(held)
            }
        }
    }
}

/// Until when nobody waits for the current generation's token who holds one of the generation before.
#[derive(Debug, Default)]
struct Slow(Mutex<Option<Instant>>);

impl Slow {
    fn patience(&self) -> Duration {
        if self.until().is_some_and(|until| Instant::now() < until) { Duration::ZERO } else { PATIENCE }
    }

    /// Somebody has waited in vain. Who did not wait at all, or waited beside another, has found out nothing new.
    fn found(&self) {
        let (mut until, now) = (self.until(), Instant::now());
        if until.is_none_or(|until| until <= now) {
            *until = Some(now + PAUSE);
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a token is waited for by who has one of the generation before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nobody waits after one has waited in vain.
const PAUSE: Duration = Duration::from_secs(10);

/// That guard's token lacks a scope is no answer to the caller either.
fn not_for_lack(response: Response<Paced<HttpBody>>) -> Result<Response<Paced<HttpBody>>, HttpError> {
    let lacks = response.status() == StatusCode::FORBIDDEN && response.headers().contains_key(WWW_AUTHENTICATE);
    if lacks { Err(HttpError::TokenRefused) } else { Ok(response) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_ten_seconds_one_waits_again_however_many_called_meanwhile() {
        let slow = Slow::default();
        for _ in 0..3 {
            assert_eq!(slow.patience(), PATIENCE);
            slow.found();
            let began = Instant::now();
            while began.elapsed() < PAUSE {
                assert_eq!(slow.patience(), Duration::ZERO);
                slow.found();
                tokio::time::advance(PAUSE / 20).await;
            }
        }
    }
}
