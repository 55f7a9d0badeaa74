//! A server with the tools, prompts and resources that the conformance scenarios ask for.

mod live;
mod prompts;
mod resources;
mod rounds;
mod tools;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rmcp::model::*;
use rmcp::service::{RequestContext, SubscriptionContext, SubscriptionSink};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The server; clones share the subscribers.
#[derive(Clone)]
pub(crate) struct Fixture {
    tools: Arc<[Tool]>,
    state: RequestStateCodec,
    subscribers: Arc<Mutex<BTreeMap<u64, SubscriptionSink>>>,
    subscribed: Arc<AtomicU64>,
}

impl Fixture {
    pub(crate) fn new() -> Result<Self> {
        // The conformance runs need a state that survives between requests, not between processes.
        let key = format!("{:?}-{:0>32}", std::time::Instant::now(), std::process::id());
        Ok(Self {
            tools: tools::all()?.into(),
            state: RequestStateCodec::try_new(key)?,
            subscribers: Arc::default(),
            subscribed: Arc::default(),
        })
    }

    fn subscribers(&self) -> Vec<SubscriptionSink> {
        let held = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        held.values().cloned().collect()
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("rmcp-fixture", env!("CARGO_PKG_VERSION")))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(rounds) = rounds::of_tool(&request.name)? {
            let asked = rounds::Asked {
                responses: request.input_responses.as_ref(),
                state: request.request_state.as_deref(),
                capabilities: context.meta.client_capabilities(),
            };
            return Ok(match rounds.step(&self.state, &asked)? {
                rounds::Step::Ask(ask) => CallToolResponse::InputRequired(ask),
                rounds::Step::Done(text) => tools::text(&text).into(),
            });
        }
        if let Some(answer) = tools::answer(&request.name)? {
            return Ok(answer.into());
        }
        live::call(self, request, context).await.map(Into::into)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list()
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        resources::templates()
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri).map(Into::into)
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        prompts::list()
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(self, request, &context)
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        complete(serde_json::json!({ "completion": { "values": ["paris", "park"], "hasMore": false } }))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, asked: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(asked.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let key = self.subscribed.fetch_add(1, Ordering::Relaxed);
        let hold = || self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        hold().insert(key, context.sink().clone());
        context.cancelled().await;
        hold().remove(&key);
        Ok(())
    }
}

/// A result as written here, marked as complete: what 2026-07-28 wants of every result.
fn complete<T: DeserializeOwned>(mut result: Value) -> Result<T, ErrorData> {
    result["resultType"] = "complete".into();
    parsed(result)
}

/// JSON as written here, as the type that rmcp wants.
fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(format!("the fixture's JSON: {error}"), None))
}
