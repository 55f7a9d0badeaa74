//! A pooled mTLS client whose requests carry tokens of the certificate that their connection presents.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use countermark_credential::Credential;
use countermark_identity::Clock;
use countermark_mtls::{Client, ClientBody, ClientConfig, ClientError, ExpectedServer, TrustGeneration};
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::TokenError;
use super::generation::{Generation, Generations};
use super::tokens::Held;
use super::{Question, Registration};
use crate::challenge::Challenge;
use crate::http::HttpError;

/// What a [`BoundClient`] is told.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct BoundClientConfig {
    /// Whom the client is at its authorization server.
    pub registration: Registration,
    /// What its tokens are asked for.
    pub question: Question,
    /// Which server must answer.
    pub expected: ExpectedServer,
    /// How it is connected to.
    pub client: ClientConfig,
}

/// [`Client`] with tokens: each request goes over a connection, and with a token, of one generation.
///
/// A 401 is answered once with a newer token, a 403 for lack of scopes once with those scopes, too; after that the answer
/// is the caller's to see. What was asked for once with more scopes is asked for with them from then on.
#[derive(Clone, Debug)]
pub struct BoundClient {
    generations: Arc<Generations<Client>>,
    question: Arc<Asked>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Asked {
    now: ArcSwap<Question>,
    widening: Mutex<()>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoundClientError {
    /// The server could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no token to ask with.
    #[error("there is no token to call with: {0}")]
    Token(#[from] TokenError),
}

impl BoundClient {
    /// A client that follows the credential; [`BoundClient::follow`] must run for that.
    ///
    /// # Errors
    /// The credential or the roots are unusable.
    pub fn new(
        credential: watch::Receiver<Arc<Credential>>,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        clock: Arc<dyn Clock>,
        config: BoundClientConfig,
    ) -> Result<Self, TokenError> {
        let BoundClientConfig { registration, question, expected, client } = config;
        let time = Arc::clone(&clock);
        let build = move |credential: &Arc<Credential>| {
            // A credential that never changes: another one is another client.
            let fixed = watch::Sender::new(Arc::clone(credential)).subscribe();
            Client::new(fixed, trust.clone(), expected.clone(), Arc::clone(&time), client.clone())
                .map_err(|error| HttpError::Tls(error.to_string()).into())
        };
        let generations = Generations::new(credential, registration, Arc::clone(&clock), build)?;
        let question = Arc::new(Asked { now: ArcSwap::from_pointee(question), widening: Mutex::new(()) });
        Ok(Self { generations, question, clock })
    }

    /// Replaces certificate, connections and tokens as one whenever the credential changes, until `shutdown`.
    pub async fn follow(self, shutdown: CancellationToken) {
        self.generations.follow(shutdown).await;
    }

    /// The generation that requests use now.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation<Client>> {
        self.generations.current()
    }

    /// Ends every token, as a process may before it stops: [`Generations::revoke_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn revoke_all(&self) -> Result<(), TokenError> {
        self.generations.revoke_all().await
    }

    /// Sends a request with a token. Its own `Authorization`, if it has one, is replaced.
    ///
    /// # Errors
    /// There is no token, or the server cannot be reached as this agent.
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, BoundClientError> {
        let generation = self.generations.current();
        let question = self.question.now.load_full();
        let held = generation.tokens().held(&question, None).await?;
        let again = request.clone();
        let response = self.send(request, &generation, &held).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => self.newer(again, response, generation, &question, held).await,
            StatusCode::FORBIDDEN => self.wider(again, response, &generation, &question).await,
            _ => Ok(response),
        }
    }

    /// Once more after a 401: with a generation that is newer, or with a newer token. One that was asked for just now is
    /// refused for another reason than its age.
    async fn newer(
        &self,
        request: Request<Full<Bytes>>,
        refused: Response<ClientBody>,
        generation: Arc<Generation<Client>>,
        question: &Question,
        held: Held,
    ) -> Result<Response<ClientBody>, BoundClientError> {
        let nonce = generation.tokens().proofs().is_some_and(|proofs| proofs.learn(refused.headers()));
        let newest = self.generations.current();
        if Arc::ptr_eq(&newest, &generation) && !nonce {
            // Who learns from the challenge which scopes are needed asks for those.
            if question.scopes().is_empty() && needed(&refused).is_some() {
                return self.wider(request, refused, &generation, question).await;
            }
            if held.is_new || held.token.is_young() {
                return Ok(refused);
            }
            generation.tokens().forget(question, &held.token);
        }
        match newest.tokens().held(question, None).await {
            Ok(held) => self.send(request, &newest, &held).await,
            Err(error) => {
                tracing::warn!(%error, "the token was refused, and there is no newer one");
                Ok(refused)
            }
        }
    }

    /// Once more after a 403 that names scopes ([RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)).
    async fn wider(
        &self,
        request: Request<Full<Bytes>>,
        refused: Response<ClientBody>,
        generation: &Generation<Client>,
        question: &Question,
    ) -> Result<Response<ClientBody>, BoundClientError> {
        let Some(needed) = needed(&refused) else { return Ok(refused) };
        let known = needed.iter().all(|scope| question.scopes().contains(scope));
        if known || question.scopes().len() + needed.len() > MOST {
            return Ok(refused);
        }
        let wider = question.clone().with_scopes(needed.clone());
        match generation.tokens().held(&wider, None).await {
            // A server may give less than was asked for, and what is not given is not asked for again and again.
            Ok(held) if needed.iter().all(|scope| held.token.scopes().contains(scope)) => {
                self.widen(needed);
                self.send(request, generation, &held).await
            }
            Ok(_) => Ok(refused),
            Err(error) => {
                tracing::warn!(question = %wider, %error, "the call needs scopes that are not given to this client");
                Ok(refused)
            }
        }
    }

    fn widen(&self, scopes: Vec<String>) {
        let _one = self.question.widening.lock().unwrap_or_else(PoisonError::into_inner);
        let wider = Question::clone(&self.question.now.load()).with_scopes(scopes);
        self.question.now.store(Arc::new(wider));
    }

    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        generation: &Generation<Client>,
        held: &Held,
    ) -> Result<Response<ClientBody>, BoundClientError> {
        request.headers_mut().insert(AUTHORIZATION, held.token.header());
        if let Some(proofs) = generation.tokens().proofs() {
            proofs.prove(&mut request, Some(held.token.expose()), self.clock.now()).map_err(TokenError::from)?;
        }
        Ok(generation.carrier().request(request).await?)
    }
}

/// The scopes that a refusal asks for.
fn needed(refused: &Response<ClientBody>) -> Option<Vec<String>> {
    let challenge = Challenge::of(refused.headers())?;
    let asks = refused.status() == StatusCode::UNAUTHORIZED || challenge.error.as_deref() == Some("insufficient_scope");
    let scopes: Vec<_> = challenge.scope?.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    (asks && !scopes.is_empty() && scopes.len() <= MOST).then_some(scopes)
}

/// Scopes of one challenge, and of one question.
const MOST: usize = 64;
