//! One request and what comes back: JSON, or a stream of events, or neither.

use bytes::Bytes;
use countermark_mtls::ClientBody;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::value::RawValue;

use super::Carrier;
use crate::answer;
use crate::json::{Object, one_line};
use crate::sse::Decoder;

impl Carrier {
    /// Sends a request and says its answer, whatever happens.
    pub(super) async fn exchange(&self, headers: HeaderMap, body: Bytes, id: &RawValue) {
        let session = headers.get("mcp-session-id").cloned();
        let mut sent = self.transport.send(Method::POST, headers, body.clone(), self.transport.limits.headers).await;
        let forgotten = matches!(&sent, Ok(response) if response.status() == StatusCode::NOT_FOUND);
        if let (true, Some(session)) = (forgotten, session)
            && self.reopen(&session).await
        {
            // > it MUST start a new session by sending a new InitializeRequest
            let message = std::str::from_utf8(&body).ok().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
            let headers = self.session.headers(&message);
            sent = self.transport.send(Method::POST, headers, body.clone(), self.transport.limits.headers).await;
        }
        match sent {
            Ok(response) => self.answer(response, id).await,
            Err(error) => self.say(answer::error_line(Some(id), answer::INTERNAL, &error.to_string())).await,
        }
    }

    async fn answer(&self, response: Response<ClientBody>, id: &RawValue) {
        let status = response.status();
        match media_type(&response).as_str() {
            "text/event-stream" if status == StatusCode::OK => {
                if !self.events(response.into_body(), Some(id)).await {
                    self.say(answer::error_line(
                        Some(id),
                        answer::INTERNAL,
                        "the server's stream ended before its answer",
                    ))
                    .await;
                }
            }
            "application/json" => {
                let line = self.whole(response.into_body(), status, id).await;
                self.say(line).await;
            }
            _ => self.say(answer::error_line(Some(id), answer::INTERNAL, &refused(status))).await,
        }
    }

    /// A JSON answer as a line; one without our id is an error that the server could not assign.
    pub(super) async fn whole(&self, body: ClientBody, status: StatusCode, id: &RawValue) -> String {
        let failed = |text: &str| answer::error_line(Some(id), answer::INTERNAL, text);
        let Ok(body) = Limited::new(body, self.transport.limits.message).collect().await else {
            return failed("the server's answer broke off or is too long");
        };
        let body = body.to_bytes();
        let Some(mut message) = std::str::from_utf8(&body).ok().and_then(|text| Object::parse(text).ok()) else {
            return failed("the server's answer is not a JSON-RPC message");
        };
        if message.get("id").is_some_and(|theirs| theirs.get() == id.get())
            && (message.has("result") || message.has("error"))
        {
            self.session.learn(&message);
            return message.line();
        }
        if message.object("error").is_some() && message.get("id").is_none_or(|theirs| theirs.get() == "null") {
            message.set("id", id.to_owned());
            return message.line();
        }
        failed(&refused(status))
    }

    /// The answer to `id` in a stream; what else the stream holds is said.
    pub(super) async fn answer_in(&self, mut body: ClientBody, id: &RawValue) -> String {
        let mut decoder = Decoder::new(self.transport.limits.message);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(piece) = frame.into_data() else { continue };
            let Ok(events) = decoder.push(&piece) else { break };
            for event in events {
                let Ok(text) = std::str::from_utf8(&event) else { continue };
                let Ok(message) = Object::parse(text) else { continue };
                if !message.has("method") && message.get("id").is_some_and(|theirs| theirs.get() == id.get()) {
                    return one_line(text);
                }
                self.say(one_line(text)).await;
            }
        }
        answer::error_line(Some(id), answer::INTERNAL, "the server's stream ended before its answer")
    }

    /// Says each event of a stream; whether the answer to `id` was among them.
    pub(super) async fn events(&self, mut body: ClientBody, id: Option<&RawValue>) -> bool {
        let mut decoder = Decoder::new(self.transport.limits.message);
        let mut answered = false;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return answered };
            let Ok(piece) = frame.into_data() else { continue };
            let Ok(events) = decoder.push(&piece) else { return answered };
            for event in events {
                let Ok(text) = std::str::from_utf8(&event) else { continue };
                let Ok(message) = Object::parse(text) else { continue };
                if !message.has("method") {
                    answered |= id.is_some_and(|id| message.get("id").is_some_and(|theirs| theirs.get() == id.get()));
                    self.session.learn(&message);
                }
                self.say(one_line(text)).await;
            }
        }
        answered
    }
}

pub(super) fn media_type<B>(response: &Response<B>) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What a status means. Never the challenge or the body: what is said here is read by a model.
fn refused(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED => "the server wants an access token that this agent does not have (401)".to_owned(),
        StatusCode::FORBIDDEN => "the server refused the request (403)".to_owned(),
        StatusCode::NOT_FOUND => "the server knows no such session or path (404)".to_owned(),
        status => format!("the server answered with HTTP status {}", status.as_u16()),
    }
}
