//! The two eras of MCP at one process: the handshake of guard's own, and what it changes in messages.

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::json::{Object, raw};

/// The stateless era's first version.
pub(crate) const STATELESS: &str = "2026-07-28";
/// The version that guard asks a server of the older era for.
const OLDER: &str = "2025-11-25";

pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const STATELESS_META: [&str; 4] =
    [PROTOCOL_VERSION, "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/clientCapabilities", LOG_LEVEL];

/// What an answer becomes on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Of the era in which it was asked.
    AsIs {
        /// The client asked for log messages.
        logs: bool,
    },
    /// Asked in the stateless era, answered in the older one.
    Translated {
        /// The result must say how long it may be kept.
        cacheable: bool,
        /// The client asked for log messages.
        logs: bool,
    },
}

impl Shape {
    pub(crate) fn wants_logs(self) -> bool {
        match self {
            Self::AsIs { logs } | Self::Translated { logs, .. } => logs,
        }
    }

    pub(crate) fn apply(self, answer: &mut Object<'_>, id: &RawValue) {
        let Some(mut result) = answer.object("result") else { return };
        if let Some(mut meta) = result.object("_meta").filter(|meta| meta.has(SUBSCRIPTION_ID)) {
            meta.set(SUBSCRIPTION_ID, id.to_owned());
            let meta = meta.raw();
            result.set("_meta", meta);
        } else if matches!(self, Self::AsIs { .. }) {
            return;
        }
        if let Self::Translated { cacheable, .. } = self {
            complete(&mut result, cacheable);
        }
        let result = result.raw();
        answer.set("result", result);
    }
}

fn complete(result: &mut Object<'_>, cacheable: bool) {
    if !result.has("resultType") {
        result.set("resultType", raw("complete"));
    }
    if cacheable {
        result.set("ttlMs", raw(&0));
        result.set("cacheScope", raw("private"));
    }
}

/// Whether a request is of the stateless era: its own `_meta` says so.
pub(crate) fn is_stateless(message: &Object<'_>) -> bool {
    message
        .object("params")
        .and_then(|params| params.object("_meta").map(|meta| meta.has(PROTOCOL_VERSION)))
        .unwrap_or(false)
}

/// Whether a request of the stateless era asks for log messages.
pub(crate) fn wants_logs(params: &Object<'_>) -> bool {
    params.object("_meta").is_some_and(|meta| meta.has(LOG_LEVEL))
}

/// Whether a result of this method says in the stateless era how long it may be kept.
pub(crate) fn is_cacheable(method: &str) -> bool {
    matches!(method, "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "resources/read")
}

/// Removes from a request's `_meta` what only the stateless era knows.
pub(crate) fn age(params: &mut Object<'_>) {
    let Some(mut meta) = params.object("_meta") else { return };
    meta.retain(|key| !STATELESS_META.contains(&key));
    let (empty, meta) = (meta.is_empty(), meta.raw());
    if empty {
        params.remove("_meta");
    } else {
        params.set("_meta", meta);
    }
}

/// `server/discover` as guard asks it, to learn the era of the process.
pub(crate) fn discover() -> Object<'static> {
    let mut meta = Object::default();
    meta.set(PROTOCOL_VERSION, raw(STATELESS));
    meta.set("io.modelcontextprotocol/clientInfo", us());
    meta.set("io.modelcontextprotocol/clientCapabilities", Object::default().raw());
    let mut params = Object::default();
    params.set("_meta", meta.raw());
    request("server/discover", &params)
}

/// `initialize` as guard asks it on behalf of stateless clients: nobody there can be asked anything.
pub(crate) fn initialize() -> Object<'static> {
    let mut params = Object::default();
    params.set("protocolVersion", raw(OLDER));
    params.set("capabilities", Object::default().raw());
    params.set("clientInfo", us());
    request("initialize", &params)
}

/// What ends the handshake.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A message of ours without an id yet.
pub(crate) fn request(method: &str, params: &Object<'_>) -> Object<'static> {
    let mut message = Object::default();
    message.set("jsonrpc", raw("2.0"));
    message.set("method", raw(method));
    message.set("params", params.raw());
    message
}

fn us() -> Box<RawValue> {
    let mut us = Object::default();
    us.set("name", raw("countermark-guard"));
    us.set("version", raw(env!("CARGO_PKG_VERSION")));
    us.raw()
}

/// What a server of the older era said of itself.
#[derive(Debug)]
pub(crate) struct ServerFacts {
    capabilities: Box<RawValue>,
    info: Option<Box<RawValue>>,
    instructions: Option<Box<RawValue>>,
}

impl ServerFacts {
    /// Reads the answer to [`initialize`].
    pub(crate) fn parse(answer: &str) -> Option<Self> {
        let answer = Object::parse(answer).ok()?;
        let result = answer.object("result")?;
        let owned = |key| result.get(key).map(ToOwned::to_owned);
        let capabilities = owned("capabilities").unwrap_or_else(|| Object::default().raw());
        Some(Self { capabilities, info: owned("serverInfo"), instructions: owned("instructions") })
    }

    /// The answer to a stateless client's `server/discover`.
    pub(crate) fn discovered(&self, id: &RawValue) -> String {
        let mut result = Object::default();
        complete(&mut result, true);
        result.set("supportedVersions", raw(&[STATELESS]));
        result.set("capabilities", self.capabilities.clone());
        if let Some(instructions) = &self.instructions {
            result.set("instructions", instructions.clone());
        }
        if let Some(info) = &self.info {
            let mut meta = Object::default();
            meta.set(SERVER_INFO, info.clone());
            result.set("_meta", meta.raw());
        }
        let mut answer = Object::default();
        answer.set("jsonrpc", raw("2.0"));
        answer.set("id", id.to_owned());
        answer.set("result", result.raw());
        answer.line()
    }
}

/// A `subscriptions/listen` that guard keeps for a server of the older era.
#[derive(Debug)]
pub(crate) struct Listener {
    id: Box<RawValue>,
    filter: Filter,
    to: mpsc::Sender<String>,
    /// Dropped when the process ends, which ends the stream.
    pub(crate) alive: Option<oneshot::Sender<String>>,
}

/// What a subscription is about.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Filter {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resources_list_changed: bool,
    /// Resources whose updates are wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_subscriptions: Vec<String>,
}

impl Filter {
    /// The filter of a `subscriptions/listen`.
    pub(crate) fn of(params: &Object<'_>) -> Option<Self> {
        serde_json::from_str(params.get("notifications")?.get()).ok()
    }
}

impl Listener {
    pub(crate) fn new(id: Box<RawValue>, filter: Filter, to: mpsc::Sender<String>) -> Self {
        let listener = Self { id, filter, to, alive: None };
        let mut params = Object::default();
        params.set("notifications", raw(&listener.filter));
        let mut acknowledged = request("notifications/subscriptions/acknowledged", &params);
        name_subscription(&mut acknowledged, &listener.id);
        let _ = listener.to.try_send(acknowledged.line());
        listener
    }

    /// Passes on what the subscription is about, under the client's id of it.
    pub(crate) fn hear(&self, method: &str, message: &Object<'_>) {
        let wanted = match method {
            "notifications/tools/list_changed" => self.filter.tools_list_changed,
            "notifications/prompts/list_changed" => self.filter.prompts_list_changed,
            "notifications/resources/list_changed" => self.filter.resources_list_changed,
            "notifications/resources/updated" => message
                .object("params")
                .and_then(|params| {
                    params.text("uri").map(|uri| self.filter.resource_subscriptions.iter().any(|wanted| *wanted == uri))
                })
                .unwrap_or(false),
            _ => false,
        };
        if wanted {
            let params = message.object("params").unwrap_or_default();
            let mut named = request(method, &params);
            name_subscription(&mut named, &self.id);
            let _ = self.to.try_send(named.line());
        }
    }
}

/// Writes the client's id of a subscription into a notification.
pub(crate) fn name_subscription(message: &mut Object<'_>, id: &RawValue) {
    let params = {
        let mut params = message.object("params").unwrap_or_default();
        let meta = {
            let mut meta = params.object("_meta").unwrap_or_default();
            meta.set(SUBSCRIPTION_ID, id.to_owned());
            meta.raw()
        };
        params.set("_meta", meta);
        params.raw()
    };
    message.set("params", params);
}
