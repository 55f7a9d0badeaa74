//! Tokens for the server behind: the caller's is exchanged for one of guard's ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)), never passed on.

use std::sync::Arc;

use countermark_mcp::Caller;
use countermark_oauth::{BoundToken, Generations, Question, TokenError, Tokens, UnverifiedToken};
use http::Request;
use http::header::AUTHORIZATION;

/// Exchanges callers' tokens, over generations of guard's own certificate.
#[derive(Debug)]
pub(crate) struct Exchange {
    generations: Arc<Generations<()>>,
    question: Question,
}

/// What a request goes on with.
pub(crate) struct Exchanged {
    tokens: Arc<Tokens>,
    token: Arc<BoundToken>,
}

impl Exchange {
    pub(crate) fn new(generations: Arc<Generations<()>>, question: Question) -> Self {
        Self { generations, question }
    }

    /// The token for the server behind, for this caller. Without a token of the caller's there is nothing to exchange.
    pub(crate) async fn for_caller(&self, caller: &Caller) -> Result<Option<Exchanged>, TokenError> {
        let Some(subject) = caller.subject_token() else { return Ok(None) };
        let tokens = Arc::clone(self.generations.current().tokens());
        let token = tokens.exchange(subject, &self.question).await?;
        Ok(Some(Exchanged { tokens, token }))
    }

    /// That one was refused: a fresh one, once.
    pub(crate) async fn anew(&self, refused: Exchanged, subject: &UnverifiedToken) -> Result<Exchanged, TokenError> {
        refused.tokens.forget_exchanged(subject, &self.question, &refused.token);
        let tokens = Arc::clone(self.generations.current().tokens());
        let token = tokens.exchange(subject, &self.question).await?;
        Ok(Exchanged { tokens, token })
    }
}

impl Exchanged {
    pub(crate) fn put<B>(&self, request: &mut Request<B>) {
        request.headers_mut().insert(AUTHORIZATION, self.token.header());
    }
}
