//! `initialize`, and what becomes of it at a server that speaks the stateless era alone.

use bytes::Bytes;
use countermark_mtls::ClientBody;
use http::{HeaderValue, Method, Response};
use serde_json::value::RawValue;

use super::Carrier;
use super::exchange::media_type;
use crate::answer;
use crate::connect::session::{Lift, base};
use crate::json::{Object, raw};
use crate::upstream::stdio::era;

/// The server speaks none of the versions that it was offered.
const UNSUPPORTED_VERSION: i64 = -32022;

impl Carrier {
    /// Carries the handshake before anything else, since all that follows depends on it.
    pub(super) async fn initialize(&self, message: &Object<'_>, text: &str, id: &RawValue) {
        self.session.agree(None, None);
        self.session.remember(text);
        let sent = self
            .transport
            .send(Method::POST, base(), Bytes::copy_from_slice(text.as_bytes()), self.transport.limits.headers)
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return self.say(answer::error_line(Some(id), answer::INTERNAL, &error.to_string())).await,
        };
        let session = response.headers().get("mcp-session-id").cloned();
        let line = self.one_answer(response, id).await;
        let answer = Object::parse(&line).unwrap_or_default();
        if let Some(result) = answer.object("result") {
            let version = result.text("protocolVersion").and_then(|version| HeaderValue::from_str(&version).ok());
            self.session.agree(session, version);
            return self.say(line).await;
        }
        let code =
            answer.object("error").and_then(|error| error.get("code").and_then(|code| code.get().parse::<i64>().ok()));
        if matches!(code, Some(UNSUPPORTED_VERSION | answer::NO_METHOD))
            && let Some(lifted) = self.discover(message, id).await
        {
            return self.say(lifted).await;
        }
        self.say(line).await;
    }

    /// Opens a session in place of one that the server has forgotten: stdio clients cannot know of sessions.
    pub(super) async fn reopen(&self, forgotten: &HeaderValue) -> bool {
        let _one = self.reopening.lock().await;
        if self.session.id().as_ref() != Some(forgotten) {
            // Another request was first.
            return self.session.id().is_some();
        }
        let Some(hello) = self.session.hello() else { return false };
        let limit = self.transport.limits.headers;
        let Ok(response) = self.transport.send(Method::POST, base(), Bytes::from(hello.clone()), limit).await else {
            return false;
        };
        let session = response.headers().get("mcp-session-id").cloned();
        let Some(id) = Object::parse(&hello).ok().and_then(|hello| hello.get("id").map(ToOwned::to_owned)) else {
            return false;
        };
        let line = self.one_answer(response, &id).await;
        let answer = Object::parse(&line).unwrap_or_default();
        let (Some(result), Some(session)) = (answer.object("result"), session) else { return false };
        let version = result.text("protocolVersion").and_then(|version| HeaderValue::from_str(&version).ok());
        self.session.agree(Some(session), version);
        tracing::info!("the server had forgotten the session; a new one is open");
        let initialized = Object::parse(era::INITIALIZED).unwrap_or_default();
        self.one_way(&initialized, era::INITIALIZED).await;
        true
    }

    /// Asks a server of the stateless era what it is, and answers the client's `initialize` from that.
    async fn discover(&self, initialize: &Object<'_>, id: &RawValue) -> Option<String> {
        let params = initialize.object("params")?;
        let client_info = params.get("clientInfo").map_or_else(|| Object::default().raw(), ToOwned::to_owned);
        self.session.lift(Lift { client_info });
        let mut message = era::request("server/discover", &Object::default());
        message.set("id", id.to_owned());
        self.session.raise(&mut message);
        let (headers, body) = (self.session.headers(&message), Bytes::from(message.line()));
        let response = self.transport.send(Method::POST, headers, body, self.transport.limits.headers).await.ok();
        let line = match response {
            Some(response) => self.one_answer(response, id).await,
            None => String::new(),
        };
        let discovered = Object::parse(&line).ok();
        let lifted = discovered
            .as_ref()
            .and_then(|answer| answer.object("result"))
            .map(|result| initialized(&params, &result, id));
        if lifted.is_none() {
            self.session.agree(None, None);
        }
        lifted
    }

    /// The answer to `id` as a line, of JSON or of a stream whose other events are said.
    async fn one_answer(&self, response: Response<ClientBody>, id: &RawValue) -> String {
        let status = response.status();
        if media_type(&response) == "text/event-stream" {
            return self.answer_in(response.into_body(), id).await;
        }
        self.whole(response.into_body(), status, id).await
    }
}

/// The result of `initialize`, in the version that the client offered, made of what `server/discover` said.
fn initialized(params: &Object<'_>, discovered: &Object<'_>, id: &RawValue) -> String {
    let mut result = Object::default();
    result.set("protocolVersion", params.get("protocolVersion").map_or_else(|| raw("2025-11-25"), ToOwned::to_owned));
    result
        .set("capabilities", discovered.get("capabilities").map_or_else(|| Object::default().raw(), ToOwned::to_owned));
    let info = discovered
        .object("_meta")
        .and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo").map(ToOwned::to_owned));
    result.set("serverInfo", info.unwrap_or_else(unnamed));
    if let Some(instructions) = discovered.get("instructions") {
        result.set("instructions", instructions.to_owned());
    }
    let mut answer = Object::default();
    answer.set("jsonrpc", raw("2.0"));
    answer.set("id", id.to_owned());
    answer.set("result", result.raw());
    answer.line()
}

fn unnamed() -> Box<RawValue> {
    let mut info = Object::default();
    info.set("name", raw("unknown"));
    info.set("version", raw("0"));
    info.raw()
}
