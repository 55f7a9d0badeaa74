//! A stdio MCP server as a Streamable HTTP one, in both eras.
//!
//! A client of the older era has a process for its session. The stateless requests of one agent share a process; if the program
//! is of the older era, guard makes the handshake itself, answers `server/discover` and `subscriptions/listen` from it, and
//! translates the rest. Nothing that a stateless client sends can end or configure a process that another agent uses.

mod child;
mod desk;
pub(crate) mod era;
mod pool;
mod process;
mod stream;
mod user;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use rustls::crypto::SecureRandom;
use serde_json::value::RawValue;

use self::desk::{Ask, Refused};
use self::era::{Filter, Listener, Shape};
use self::pool::{Pool, Shared, Unavailable};
use self::process::Process;
use self::stream::{Accepts, Waiting};
use self::user::User;
use crate::answer;
use crate::body::Body;
use crate::guard::StdioServer;
use crate::json::{Object, raw};

const SESSION: &str = "mcp-session-id";

/// All processes of one stdio server, behind HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Stdio {
    pool: Arc<Pool>,
}

/// A request that names what it is about.
struct Call<'a> {
    message: Object<'a>,
    id: Box<RawValue>,
    method: String,
    accepts: Accepts,
}

impl Stdio {
    /// Resolves the user; spawns nothing yet.
    pub(crate) fn new(server: StdioServer, random: &'static dyn SecureRandom) -> Result<Self, String> {
        let user = server.user.as_deref().map(User::find).transpose()?;
        Ok(Self { pool: Arc::new(Pool::new(server, user, random)) })
    }

    /// How many processes run.
    pub(crate) fn running(&self) -> usize {
        self.pool.running()
    }

    /// Ends all processes.
    pub(crate) async fn end(&self) {
        self.pool.end().await;
    }

    /// Answers one permitted request of `agent`.
    pub(crate) async fn call(&self, agent: &str, request: Request<Bytes>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let session = parts.headers.get(SESSION).and_then(|session| session.to_str().ok());
        match (parts.method, session) {
            (Method::POST, _) => self.post(agent, session, &parts.headers, &body).await,
            (Method::GET, Some(session)) => self.get(agent, session),
            (Method::DELETE, Some(session)) if self.pool.close(agent, session) => {
                answer::status(StatusCode::NO_CONTENT)
            }
            (Method::DELETE, Some(_)) => no_session(None),
            _ => answer::status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    async fn post(&self, agent: &str, session: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let Some(message) = std::str::from_utf8(body).ok().and_then(|text| Object::parse(text).ok()) else {
            return answer::error(StatusCode::BAD_REQUEST, None, answer::INVALID, "the body is not a JSON-RPC message");
        };
        let id = message.get("id").map(ToOwned::to_owned);
        let method = message.text("method").map(std::borrow::Cow::into_owned);
        let (Some(id), Some(method)) = (id.clone(), method.clone()) else {
            return self.one_way(agent, session, &message, method.as_deref()).await;
        };
        let call = Call { message, id, method, accepts: Accepts::of(headers) };
        if era::is_stateless(&call.message) {
            return self.stateless(agent, call).await;
        }
        match session {
            None if call.method == "initialize" => self.initialize(agent, call).await,
            Some(session) => match self.pool.session(agent, session) {
                Some(process) => self.in_session(&process, call).await,
                None => no_session(Some(&call.id)),
            },
            None => answer::error(
                StatusCode::BAD_REQUEST,
                Some(&call.id),
                answer::INVALID,
                "no Mcp-Session-Id; the older era begins with initialize",
            ),
        }
    }

    fn get(&self, agent: &str, session: &str) -> Response<Body> {
        let Some(process) = self.pool.session(agent, session) else { return no_session(None) };
        process.desk().attach().map_or_else(|| no_session(None), stream::unasked)
    }

    /// A notification, or a response to what the process asked.
    async fn one_way(
        &self,
        agent: &str,
        session: Option<&str>,
        message: &Object<'_>,
        method: Option<&str>,
    ) -> Response<Body> {
        let Some(session) = session else {
            // The stateless era has no notifications of clients over HTTP.
            return answer::status(StatusCode::ACCEPTED);
        };
        let Some(process) = self.pool.session(agent, session) else { return no_session(None) };
        if method == Some("notifications/cancelled") {
            if let Some(number) = process::cancelled_id(message).and_then(|id| process.desk().number_of(&id)) {
                process.cancel(number);
            }
            return answer::status(StatusCode::ACCEPTED);
        }
        match process.tell(&message.line()).await {
            Ok(()) => answer::status(StatusCode::ACCEPTED),
            Err(refused) => busy(None, refused),
        }
    }

    async fn initialize(&self, agent: &str, call: Call<'_>) -> Response<Body> {
        let process = match self.pool.start(agent) {
            Ok(process) => process,
            Err(error) => return unavailable(&call.id, &error),
        };
        let limit = self.pool.server().limits.start;
        let (id, ask) = (call.id.clone(), call.ask(Shape::AsIs { logs: false }));
        let mut exchange = match process.request(call.message, ask).await {
            Ok(exchange) => exchange,
            Err(refused) => return busy(Some(&id), refused),
        };
        let line = match tokio::time::timeout(limit, &mut exchange.answer).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) => {
                return answer::error(
                    StatusCode::BAD_GATEWAY,
                    Some(&id),
                    answer::INTERNAL,
                    "the stdio server ended before it answered",
                );
            }
            Err(_) => {
                return answer::error(
                    StatusCode::GATEWAY_TIMEOUT,
                    Some(&id),
                    answer::INTERNAL,
                    "the stdio server did not answer in time",
                );
            }
        };
        drop(exchange);
        if stream::error_code(&line).is_some() {
            return answer::json(StatusCode::OK, line);
        }
        let session = self.pool.open(agent, process).and_then(|name| HeaderValue::from_str(&name).ok());
        let Some(session) = session else {
            return answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                Some(&id),
                answer::INTERNAL,
                "no session can be named",
            );
        };
        let mut response = answer::json(StatusCode::OK, line);
        response.headers_mut().insert(SESSION, session);
        response
    }

    async fn in_session(&self, process: &Arc<Process>, call: Call<'_>) -> Response<Body> {
        let ask = call.ask(Shape::AsIs { logs: true });
        self.forward(process, call, ask, false).await
    }

    async fn stateless(&self, agent: &str, call: Call<'_>) -> Response<Body> {
        let shared = match self.pool.shared(agent).await {
            Ok(shared) => shared,
            Err(error) => return unavailable(&call.id, &error),
        };
        let Some(facts) = &shared.older else {
            let logs = call.message.object("params").is_some_and(|params| era::wants_logs(&params));
            let ask = call.ask(Shape::AsIs { logs });
            return self.forward(&shared.process, call, ask, true).await;
        };
        match call.method.as_str() {
            "server/discover" => answer::json(StatusCode::OK, facts.discovered(&call.id)),
            "subscriptions/listen" => self.listen(&shared, call).await,
            _ => self.translate(&shared, call).await,
        }
    }

    /// A stateless request to a program of the older era.
    async fn translate(&self, shared: &Arc<Shared>, mut call: Call<'_>) -> Response<Body> {
        let mut logs = false;
        let params = call.message.object("params").map(|mut params| {
            logs = era::wants_logs(&params);
            era::age(&mut params);
            params.raw()
        });
        if let Some(params) = params {
            call.message.set("params", params);
        }
        let ask = call.ask(Shape::Translated { cacheable: era::is_cacheable(&call.method), logs });
        self.forward(&shared.process, call, ask, true).await
    }

    async fn forward(&self, process: &Process, call: Call<'_>, ask: Ask, stateless: bool) -> Response<Body> {
        let (id, accepts) = (call.id.clone(), call.accepts);
        let subscription = call.method == "subscriptions/listen";
        let exchange = match process.request(call.message, ask).await {
            Ok(exchange) => exchange,
            Err(refused) => return busy(Some(&id), refused),
        };
        let canceller = process.canceller(exchange.number);
        // In the older era a broken stream does not cancel: clients say so with a notification.
        let cancel = stateless.then_some(canceller);
        let deadline = (!subscription).then(|| self.pool.server().limits.request);
        Waiting { id, accepts, deadline, cancel, stateless }.answer(exchange).await
    }

    /// A subscription at a program of the older era: guard hears what it says unasked and passes on what was asked for.
    async fn listen(&self, shared: &Arc<Shared>, call: Call<'_>) -> Response<Body> {
        let filter = call.message.object("params").and_then(|params| Filter::of(&params));
        let Some(filter) = filter else {
            return answer::error(
                StatusCode::BAD_REQUEST,
                Some(&call.id),
                -32602,
                "subscriptions/listen names no notifications",
            );
        };
        for uri in &filter.resource_subscriptions {
            let mut params = Object::default();
            params.set("uri", raw(uri));
            shared.process.ask(era::request("resources/subscribe", &params), Duration::from_secs(10)).await;
        }
        let id = call.id.clone();
        let exchange = match shared.process.desk().listen(|to| Listener::new(id, filter, to)) {
            Ok(exchange) => exchange,
            Err(refused) => return busy(Some(&call.id), refused),
        };
        let accepts = Accepts { json: false, events: true };
        Waiting { id: call.id, accepts, deadline: None, cancel: None::<fn()>, stateless: true }.answer(exchange).await
    }
}

impl Call<'_> {
    fn ask(&self, shape: Shape) -> Ask {
        let token = self.message.object("params").and_then(|params| {
            params.object("_meta").and_then(|meta| meta.get("progressToken").map(ToOwned::to_owned))
        });
        Ask { id: self.id.clone(), token, events: self.accepts.events, shape }
    }
}

fn no_session(id: Option<&RawValue>) -> Response<Body> {
    answer::error(StatusCode::NOT_FOUND, id, answer::INVALID, "no such session")
}

fn busy(id: Option<&RawValue>, refused: Refused) -> Response<Body> {
    match refused {
        Refused::Busy => answer::error(
            StatusCode::SERVICE_UNAVAILABLE,
            id,
            answer::INTERNAL,
            "as many requests are in flight as may be",
        ),
        Refused::Ended => answer::error(StatusCode::BAD_GATEWAY, id, answer::INTERNAL, "the stdio server has ended"),
    }
}

fn unavailable(id: &RawValue, error: &Unavailable) -> Response<Body> {
    tracing::warn!(%error, "no process for a call");
    let (status, text) = match error {
        Unavailable::Start(_) => (StatusCode::BAD_GATEWAY, "the stdio server cannot be started".to_owned()),
        limit => (StatusCode::SERVICE_UNAVAILABLE, limit.to_string()),
    };
    let mut response = answer::error(status, Some(id), answer::INTERNAL, &text);
    if let Unavailable::Backoff(left) = error {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(left.as_secs() + 1));
    }
    response
}
