//! Token requests.

use std::future::Future;
use std::pin::Pin;

use countermark_identity::Secret;
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, Scope,
    TokenResponse as _, TokenUrl,
};
use url::{Url, form_urlencoded};
use zeroize::{Zeroize as _, Zeroizing};

use super::Asking;
use super::authentication::ClientAuthentication;
use super::error::TokenError;
use super::question::Question;
use super::token::Fresh;
use crate::bearer::UnverifiedToken;
use crate::http::HttpError;

impl<'c> AsyncHttpClient<'c> for Asking<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Asking<'_> {
    /// The client's own token. [RFC 6749 §4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)
    pub(super) async fn client_credentials(&self, endpoint: &Url, question: &Question) -> Result<Fresh, TokenError> {
        let url = TokenUrl::new(endpoint.to_string()).map_err(|_| self.malformed("its endpoint is no URL"))?;
        let mut client = BasicClient::new(ClientId::new(self.client.to_owned())).set_token_uri(url);
        client = match self.authentication {
            ClientAuthentication::Secret(secret) => {
                client.set_client_secret(ClientSecret::new(secret.expose().clone())).set_auth_type(AuthType::BasicAuth)
            }
            _ => client.set_auth_type(AuthType::RequestBody),
        };
        let members = self.proof()?;
        let scopes = question.scopes().iter().cloned().map(Scope::new);
        let mut request = client.exchange_client_credentials().add_scopes(scopes);
        for (name, value) in &members {
            request = request.add_extra_param(*name, value.expose().clone());
        }
        if let Some(resource) = question.resource() {
            request = request.add_extra_param("resource", resource.to_owned());
        }
        self.read(request.request_async(self).await, question)
    }

    /// A token in exchange for another one, on behalf of its subject. [RFC 8693 §2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.1)
    pub(super) async fn exchange(
        &self,
        endpoint: &Url,
        question: &Question,
        subject: &UnverifiedToken,
    ) -> Result<Fresh, TokenError> {
        let member = |name, value: &str| (name, Secret::new(value.to_owned()));
        let mut form = vec![
            member("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            member("subject_token", subject.expose()),
            member("subject_token_type", ACCESS_TOKEN),
            member("requested_token_type", ACCESS_TOKEN),
        ];
        form.extend(question.resource().map(|resource| member("resource", resource)));
        if !question.scopes().is_empty() {
            form.push(member("scope", &question.scopes().join(" ")));
        }
        let response = self.send(self.form(endpoint, &form)?).await?;
        self.read(parse(response), question)
    }

    /// Sends a request, with a proof of possession where tokens are bound by one; once more if the server wants its nonce
    /// in it ([RFC 9449 §8](https://www.rfc-editor.org/rfc/rfc9449#section-8)).
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(proofs) = self.proofs else { return self.plainly(request).await };
        let mut first = request.clone();
        proofs.prove(&mut first, None, self.now)?;
        let response = self.plainly(first).await?;
        if !proofs.learn(response.headers()) || response.status().is_success() {
            return Ok(response);
        }
        let mut second = request;
        self.assert_anew(&mut second)?;
        proofs.prove(&mut second, None, self.now)?;
        self.plainly(second).await
    }

    /// Replaces the client's assertion: a server may take each `jti` only once
    /// ([RFC 7523 §3](https://www.rfc-editor.org/rfc/rfc7523#section-3)).
    fn assert_anew(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let members = self.proof()?;
        if members.is_empty() {
            return Ok(());
        }
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(request.body()) {
            let fresh = members.iter().find(|(replaced, _)| *replaced == name);
            body.append_pair(&name, fresh.map_or(&*value, |(_, fresh)| fresh.expose()));
        }
        let mut used = std::mem::replace(request.body_mut(), body.finish().into_bytes());
        used.zeroize();
        Ok(())
    }

    async fn plainly(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        Ok(self.http.send(request, LARGEST).await?.map(|body| body.to_vec()))
    }

    fn read(&self, answer: Answer, question: &Question) -> Result<Fresh, TokenError> {
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(refused) => TokenError::refused(self.issuer, refused.error().as_ref()),
            RequestTokenError::Request(error) => error.into(),
            RequestTokenError::Parse(_, mut body) => {
                body.zeroize();
                self.malformed(
                    "JSON with access_token, token_type and a whole number of seconds in expires_in is wanted",
                )
            }
            RequestTokenError::Other(mut text) => {
                text.zeroize();
                self.malformed("it is empty, or of another type than application/json")
            }
        })?;
        let wanted = if self.proofs.is_some() { "dpop" } else { "bearer" };
        if answer.token_type().as_ref() != wanted {
            return Err(self.malformed("its token_type is another than was asked for"));
        }
        let token = answer.access_token().secret();
        UnverifiedToken::parse(token).map_err(|_| self.malformed("its access_token cannot stand in a header"))?;
        if answer.expires_in().is_some_and(|life| life.is_zero()) {
            return Err(self.malformed("its token has ended already"));
        }
        let given = answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect());
        Ok(Fresh {
            value: Zeroizing::new(token.as_bytes().to_vec()),
            lives: answer.expires_in().map(|life| life.as_secs()),
            // RFC 6749 §5.1: absent where it is what was asked for.
            scopes: given.unwrap_or_else(|| question.scopes().to_vec()),
        })
    }

    fn malformed(&self, what: &'static str) -> TokenError {
        TokenError::Malformed { issuer: self.issuer.to_owned(), what }
    }
}

type Answer = Result<BasicTokenResponse, RequestTokenError<HttpError, BasicErrorResponse>>;

/// As the library reads the answers to its own requests.
fn parse(response: HttpResponse) -> Answer {
    let (parts, body) = response.into_parts();
    let body = Zeroizing::new(body);
    if !parts.status.is_success() {
        return Err(match serde_json::from_slice::<BasicErrorResponse>(&body) {
            Ok(refused) => RequestTokenError::ServerResponse(refused),
            Err(_) => RequestTokenError::Other(String::new()),
        });
    }
    serde_json::from_slice(&body).map_err(|_| RequestTokenError::Other(String::new()))
}

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Bytes of an answer.
const LARGEST: usize = 64 * 1024;
