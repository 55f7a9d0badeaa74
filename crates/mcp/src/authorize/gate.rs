//! The order of judgement: address, right to the connection, body, headers, session, policy, audit. Then forward.

use std::sync::Arc;

use bytes::Bytes;
use countermark_mtls::VerifiedPeer;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::answer::{self, AnswerBody};
use super::case::Case;
use super::verdict::{Denial, Verdict, authorize};
use super::{Authorization, intake};
use crate::headers::{self, SESSION_ID};
use crate::method::{Demand, demands};
use crate::pending::Pending;
use crate::refusal::{Refusal, code};
use crate::sessions::{Record, Sessions};
use crate::tasks::Tasks;
use crate::tokens::Shown;
use crate::{BoxError, Era, Message, parse};

/// The configuration, and what is remembered between requests.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) config: Authorization,
    pub(super) sessions: Sessions,
    pub(super) tasks: Tasks,
    pub(super) pending: Pending,
}

/// What was judged and may be forwarded.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) body: Bytes,
    pub(super) era: Era,
    /// The session that the request belongs to.
    pub(super) session: Option<Box<str>>,
    /// How the answer is treated.
    pub(super) record: Record,
    /// What the request does to sessions.
    pub(super) effect: Effect,
}

/// What a request does to sessions, if the upstream agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Opens,
    Uses,
    Ends,
}

/// Why a request goes no further.
pub(super) enum Stop {
    Refused(Refusal),
    Denied(Denial),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl Gate {
    pub(super) fn new(config: Authorization) -> Self {
        Self {
            sessions: Sessions::new(config.limits.clone()),
            tasks: Tasks::new(config.limits.tasks_per_agent),
            pending: Pending::new(config.limits.pending_per_agent),
            config,
        }
    }

    /// Judges a request and forwards it, or answers why not.
    pub(super) async fn pass<S, B, R>(self: Arc<Self>, request: Request<B>, inner: S) -> Response<AnswerBody>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let Some(peer) = parts.extensions.get::<VerifiedPeer>().cloned() else {
            tracing::error!(
                "a request without a verified peer was refused: the layer must stand behind an mTLS acceptor"
            );
            let refusal = Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::INTERNAL_ERROR,
                "the server cannot tell who calls",
            );
            return answer::error(&refusal, None);
        };
        if let Some(document) = self.metadata(&parts) {
            return document;
        }
        let mut case = Case::new(peer, &self.config);
        let judged = match self.judge(&mut case, &mut parts, body).await {
            Ok(judged) => judged,
            Err(stop) => return self.stop(&case, stop).await,
        };
        if let Err(unwritten) = case.permit(&self.config, &judged.verdict).await {
            return answer::error(&unwritten, case.id.as_ref());
        }
        // The body and the audit were waited for: what ended meanwhile does not go on.
        match self.stands(&case, &judged) {
            Ok(()) => self.forward(case, parts, judged, inner).await,
            Err(stop) => self.stop(&case, stop).await,
        }
    }

    /// Writes down why a request goes no further, and answers it.
    async fn stop(&self, case: &Case, stop: Stop) -> Response<AnswerBody> {
        let refusal = match stop {
            Stop::Refused(refusal) => case.refuse(&self.config, refusal).await,
            Stop::Denied(denial) => case.deny(&self.config, &denial).await,
        };
        answer::error(&refusal, case.id.as_ref())
    }

    fn stands(&self, case: &Case, judged: &Judged) -> Result<(), Stop> {
        case.peer.judge().map_err(|ended| Refusal::ended(&ended))?;
        self.config.tokens.stands(case.token.as_ref(), self.config.clock.now())?;
        if !Arc::ptr_eq(&self.config.policy.borrow(), &judged.verdict.policy) {
            authorize(&self.config, &self.tasks, case.holder(), &case.demands)?;
        }
        // Last: what is refused claims nothing.
        if let Some(session) = &judged.session {
            self.sessions.claim(case.owner(), session).map_err(|_| Refusal::session())?;
        }
        Ok(())
    }

    async fn judge<B>(&self, case: &mut Case, parts: &mut Parts, body: B) -> Result<Judged, Stop>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        self.verify_address(parts)?;
        case.peer.judge().map_err(|ended| Refusal::ended(&ended))?;
        case.token = self.token(parts, &case.peer).await?;
        match parts.method {
            Method::POST => {
                headers::single(&parts.headers, &CONTENT_LENGTH)?;
                headers::verify_content(&parts.headers)?;
                headers::verify_accept(&parts.headers)?;
                let body = intake::read(&parts.headers, body, &self.config.limits).await?;
                self.judge_message(case, parts, body)
            }
            Method::GET => self.judge_bodiless(case, parts, Effect::Uses),
            Method::DELETE => self.judge_bodiless(case, parts, Effect::Ends),
            _ => Err(not_allowed("only POST, and in the older era GET and DELETE").into()),
        }
    }

    /// The token, judged before anything of the body is read.
    async fn token(&self, parts: &Parts, peer: &VerifiedPeer) -> Result<Option<Shown>, Refusal> {
        self.config.tokens.judge(&parts.headers, peer).await.map_err(|(refusal, why)| {
            tracing::info!(agent = %peer.agent(), %why, "a token was refused");
            refusal
        })
    }

    /// The resource's metadata, for whoever may connect: it says no more than a refusal does.
    fn metadata(&self, parts: &Parts) -> Option<Response<AnswerBody>> {
        let asked = parts.method == Method::GET && Some(parts.uri.path()) == self.config.tokens.metadata_path();
        let rules = self.config.tokens.rules().filter(|_| asked)?;
        if let Err(refusal) = headers::verify_host(parts, self.config.hosts.as_ref()) {
            return Some(answer::error(&refusal, None));
        }
        let policy = self.config.policy.borrow().clone();
        Some(answer::document(&rules.metadata(&policy.scopes_on(&self.config.server))))
    }

    fn verify_address(&self, parts: &Parts) -> Result<(), Refusal> {
        headers::verify_host(parts, self.config.hosts.as_ref())?;
        headers::verify_origin(&parts.headers, &self.config.origins)?;
        match &self.config.path {
            Some(path) if parts.uri.path() != path || parts.uri.query().is_some() => {
                let host = parts.uri.authority().map(ToString::to_string);
                let host = match &host {
                    Some(host) => Some(host.as_str()),
                    None => headers::single(&parts.headers, &http::header::HOST)?,
                };
                let message =
                    format!("not served here; the MCP endpoint is https://{}{path}", host.unwrap_or_default());
                Err(Refusal::new(StatusCode::NOT_FOUND, code::INVALID_REQUEST, message))
            }
            _ => Ok(()),
        }
    }

    fn judge_message(&self, case: &mut Case, parts: &mut Parts, body: Bytes) -> Result<Judged, Stop> {
        let message = parse(&body, &self.config.limits)?;
        case.describe(&message);
        let era = headers::verify_mirrored(&parts.headers, &message)?.era();
        let (session, effect) = self.judge_session(case, parts, era, &message)?;
        case.demands = needs(&message)?;
        let verdict = authorize(&self.config, &self.tasks, case.holder(), &case.demands)?;
        if let Message::Response(response) = &message {
            // > a client's response passes only if its id answers a request sent on a stream of that identity
            let asked = self.pending.take(case.owner(), session.as_deref(), &response.id);
            asked.ok_or_else(|| Refusal::invalid("no request with this id waits for your response"))?;
        }
        let record = case.method.as_deref().map_or(Record::Plain, Record::of);
        drop(message);
        Ok(Judged { verdict, body, era, session, record, effect })
    }

    fn judge_session(
        &self,
        case: &Case,
        parts: &mut Parts,
        era: Era,
        message: &Message<'_>,
    ) -> Result<(Option<Box<str>>, Effect), Refusal> {
        let opens = matches!(message, Message::Request(request) if request.method == "initialize");
        if era == Era::Modern || opens {
            // > a stray `Mcp-Session-Id` SHOULD be ignored, never echoed
            parts.headers.remove(SESSION_ID);
        }
        if opens {
            let full = |_| {
                Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    code::INTERNAL_ERROR,
                    "too many sessions are open; try again later",
                )
            };
            self.sessions.make_room(self.config.clock.now()).map_err(full)?;
            return Ok((None, Effect::Opens));
        }
        Ok((self.session(case, parts)?, Effect::Uses))
    }

    fn judge_bodiless(&self, case: &mut Case, parts: &mut Parts, effect: Effect) -> Result<Judged, Stop> {
        case.method = Some(parts.method.as_str().into());
        case.demands = vec![Demand::Protocol];
        let era = headers::bodiless_version(&parts.headers)?.era();
        if era == Era::Modern {
            return Err(not_allowed("GET and DELETE are not part of 2026-07-28").into());
        }
        let session = self.session(case, parts)?;
        if session.is_none() && effect == Effect::Ends {
            return Err(Refusal::invalid("Mcp-Session-Id is missing").into());
        }
        let verdict = authorize(&self.config, &self.tasks, case.holder(), &case.demands)?;
        Ok(Judged { verdict, body: Bytes::new(), era, session, record: Record::Plain, effect })
    }

    /// The session that the request claims, if it is the caller's.
    fn session(&self, case: &Case, parts: &Parts) -> Result<Option<Box<str>>, Refusal> {
        let Some(id) = headers::single(&parts.headers, &SESSION_ID)? else {
            return Ok(None);
        };
        self.sessions.touch(case.owner(), id, self.config.clock.now()).map_err(|_| Refusal::session())?;
        Ok(Some(id.into()))
    }
}

impl Case {
    fn describe(&mut self, message: &Message<'_>) {
        match message {
            Message::Request(request) => {
                self.id = Some(request.id.clone().into_owned());
                self.method = Some(request.method.as_ref().into());
            }
            Message::Notification(notification) => self.method = Some(notification.method.as_ref().into()),
            Message::Response(_) => {}
        }
    }
}

fn needs(message: &Message<'_>) -> Result<Vec<Demand>, Refusal> {
    let named = match message {
        Message::Request(request) => demands(&request.method, &request.params),
        Message::Notification(notification) => demands(&notification.method, &notification.params),
        Message::Response(_) => Ok(vec![Demand::Protocol]),
    };
    named.map_err(|missing| {
        Refusal::new(StatusCode::BAD_REQUEST, code::INVALID_PARAMS, format!("`{}` is missing", missing.0))
    })
}

fn not_allowed(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, code::INVALID_REQUEST, message)
}
