//! Tokens for the server behind: the caller's is exchanged for one of guard's ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)), never passed on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    spent: Mutex<Spent<BoundToken>>,
}

impl Exchange {
    pub(crate) fn new(generations: Arc<Generations<Http>>, question: Question) -> Self {
        Self { generations, question, spent: Mutex::default() }
    }

    /// With a token for the upstream; without one of the caller's there is nothing to exchange. A refusal of guard's token is
    /// guard's own affair: it is tried once more with a fresh one, and never handed to the caller, who would take it for a
    /// refusal of its own. If the fresh one is refused, too, no other is asked for during [`COOLDOWN`].
    pub(crate) async fn call(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Paced<HttpBody>>, HttpError> {
        let caller = Caller::of(request.extensions());
        let Some(subject) = caller.as_ref().and_then(Caller::subject_token) else {
            return self.generations.current().carrier().call(request).await;
        };
        let (generation, token) = self.token(subject).await?;
        let mut again = request.clone();
        request.headers_mut().insert(AUTHORIZATION, token.header());
        let response = generation.carrier().call(request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return not_for_lack(response);
        }
        if self.spent().holds(&token) {
            return Err(HttpError::TokenRefused);
        }
        generation.tokens().forget_exchanged(subject, &self.question, &token);
        let generation = self.generations.current();
        let fresh = generation.tokens().exchange(subject, &self.question).await.map_err(HttpError::Token)?;
        again.headers_mut().insert(AUTHORIZATION, fresh.header());
        let response = generation.carrier().call(again).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.spent().add(&fresh);
            return Err(HttpError::TokenRefused);
        }
        not_for_lack(response)
    }

    /// A token, and the generation that it is bound to: the current one, or where that has none because nobody answers, the one
    /// before with what it still holds.
    async fn token(&self, subject: &UnverifiedToken) -> Result<(Arc<Generation<Http>>, Arc<BoundToken>), HttpError> {
        let current = self.generations.current();
        match current.tokens().exchange(subject, &self.question).await {
            Ok(token) => Ok((current, token)),
            Err(refused @ TokenError::Refused { .. }) => Err(HttpError::Token(refused)),
            Err(error) => {
                let earlier = self.generations.earlier();
                let held = earlier.and_then(|earlier| {
                    let token = earlier.tokens().exchanged(subject, &self.question)?;
                    Some((earlier, token))
                });
                held.ok_or(HttpError::Token(error))
            }
        }
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, Spent<BoundToken>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That guard's token lacks a scope is no answer to the caller either.
fn not_for_lack(response: Response<Paced<HttpBody>>) -> Result<Response<Paced<HttpBody>>, HttpError> {
    let lacks = response.status() == StatusCode::FORBIDDEN && response.headers().contains_key(WWW_AUTHENTICATE);
    if lacks { Err(HttpError::TokenRefused) } else { Ok(response) }
}

/// Fresh tokens that were refused lately, oldest first: another one would be refused as well.
#[derive(Debug)]
struct Spent<T>(VecDeque<(Weak<T>, Instant)>);

impl<T> Default for Spent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Spent<T> {
    fn holds(&self, token: &Arc<T>) -> bool {
        let lately = |since: &Instant| since.elapsed() < COOLDOWN;
        self.0.iter().any(|(spent, since)| lately(since) && std::ptr::eq(spent.as_ptr(), Arc::as_ptr(token)))
    }

    fn add(&mut self, token: &Arc<T>) {
        self.0.retain(|(_, since)| since.elapsed() < COOLDOWN);
        if self.holds(token) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((Arc::downgrade(token), Instant::now()));
    }
}

/// How long an upstream that refuses fresh tokens costs no further one.
const COOLDOWN: Duration = Duration::from_secs(10);
/// Tokens that are remembered as refused.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_remembered_for_a_while_and_all_are_bounded() {
        let (mut spent, token) = (Spent::default(), Arc::new(0));
        assert!(!spent.holds(&token));
        spent.add(&token);
        spent.add(&token);
        assert!(spent.holds(&token) && !spent.holds(&Arc::new(0)));
        assert_eq!(spent.0.len(), 1);
        tokio::time::advance(COOLDOWN).await;
        assert!(!spent.holds(&token), "then another one is asked for");
        let many: Vec<_> = (0..2 * MOST).map(Arc::new).collect();
        many.iter().for_each(|token| spent.add(token));
        assert!(spent.0.len() == MOST && spent.holds(many.last().unwrap()));
    }
}
