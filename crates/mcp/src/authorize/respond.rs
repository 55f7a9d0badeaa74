//! The answer's headers, and which filter its body goes through.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body::Body;

use super::answer::{self, AnswerBody};
use super::body::passed;
use super::case::Case;
use super::gate::{Effect, Gate};
use super::verdict::authorize;
use super::{json, stream};
use crate::headers::SESSION_ID;
use crate::refusal::Refusal;
use crate::sessions::Record;
use crate::{BoxError, Era};

/// What is known of the request when its answer arrives.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) gate: Arc<Gate>,
    pub(super) case: Case,
    pub(super) era: Era,
    pub(super) session: Option<Box<str>>,
    pub(super) record: Record,
    pub(super) effect: Effect,
}

/// What an answer's body is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Json,
    Events,
    Other,
}

impl Context {
    pub(super) async fn respond<R>(mut self, response: Response<R>) -> Response<AnswerBody>
    where
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut parts, body) = response.into_parts();
        if let Err(ended) = self.case.peer.judge() {
            self.case.ended(&self.gate.config, &ended.to_string());
            return answer::error(&Refusal::ended(&ended), self.case.id.as_ref());
        }
        let encoded = parts.headers.get_all(CONTENT_ENCODING).iter().any(|value| value != "identity");
        if encoded {
            return self.bad_gateway("the server behind encoded its answer although it was asked not to");
        }
        if let Err(answer) = self.settle_session(parts.status, &mut parts.headers) {
            return *answer;
        }
        if self.gate.config.tokens.rules().is_some() {
            // A challenge is about the caller's token, and that is judged here alone.
            parts.headers.remove(WWW_AUTHENTICATE);
        }
        while let Some(name) = parts.headers.keys().find(|name| is_of_one_hop(name)).cloned() {
            parts.headers.remove(name);
        }
        match media(&parts.headers) {
            Media::Events => {
                parts.headers.remove(CONTENT_LENGTH);
                Response::from_parts(parts, stream::filtered(self, body))
            }
            Media::Json => json::filtered(self, parts, body).await,
            Media::Other if body.is_end_stream() || (self.record == Record::Plain && !parts.status.is_success()) => {
                Response::from_parts(parts, passed(body))
            }
            Media::Other if self.case.id.is_none() => Response::from_parts(parts, passed(body)),
            Media::Other => self.bad_gateway("the server behind answered neither JSON nor an event stream"),
        }
    }

    /// Whether the right to the answer still stands, or why not.
    pub(super) fn right(&self) -> Result<(), String> {
        self.case.peer.judge().map_err(|ended| ended.to_string())?;
        // An answer to one call may take as long as it takes; what never ends by itself ends with its token.
        if self.case.never_ends() {
            let now = self.gate.config.clock.now();
            let stands = self.gate.config.tokens.stands(self.case.token.as_ref(), now);
            stands.map_err(|_| "the token that opened it has expired".to_owned())?;
            let holds = |session: &str| self.gate.sessions.holds(self.case.owner(), session);
            if !self.session.as_deref().is_none_or(holds) {
                return Err("the session is over, or another person's by now".to_owned());
            }
        }
        let verdict = authorize(&self.gate.config, &self.gate.tasks, self.case.holder(), &self.case.demands);
        verdict.map(drop).map_err(|denial| denial.to_string())
    }

    /// Writes down that the answer was cut off.
    pub(super) fn ended(&self, reason: &str) {
        tracing::info!(agent = %self.case.peer.agent(), reason, decision = %self.case.decision, "a stream was ended: the right to it has ended");
        self.case.ended(&self.gate.config, reason);
    }

    /// Binds, keeps or ends the session, as the upstream has decided.
    fn settle_session(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Result<(), Box<Response<AnswerBody>>> {
        let owner = self.case.owner();
        let given = headers.remove(SESSION_ID);
        match (self.effect, &self.session) {
            (Effect::Opens, _) if status.is_success() => {
                let Some(value) = given else { return Ok(()) };
                let id = value.to_str().unwrap_or_default();
                let opened = self.gate.sessions.open(owner, id, self.gate.config.clock.now());
                if let Err(error) = opened {
                    tracing::warn!(?error, "the session that the server behind opened cannot be bound");
                    return Err(Box::new(
                        self.bad_gateway("the session that the server behind opened cannot be bound"),
                    ));
                }
                if let Some(request) = &self.case.id {
                    self.gate.sessions.expect(id, request.clone(), self.record);
                }
                self.session = Some(id.into());
                headers.insert(SESSION_ID, value);
            }
            (Effect::Opens, _) => {}
            (effect, Some(session)) => {
                let gone = status == StatusCode::NOT_FOUND || (effect == Effect::Ends && status.is_success());
                if gone {
                    self.gate.sessions.end(owner, session);
                    self.gate.pending.forget(owner.agent, session);
                } else if let Some(value) = given.filter(|value| value.as_bytes() == session.as_bytes()) {
                    headers.insert(SESSION_ID, value);
                }
            }
            (_, None) => {}
        }
        Ok(())
    }
}

fn is_of_one_hop(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, TE, TRAILER, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn media(headers: &HeaderMap) -> Media {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Media::Other;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("text/event-stream") {
        Media::Events
    } else if essence.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else {
        Media::Other
    }
}
