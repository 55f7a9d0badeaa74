//! One message of a client, judged whole by one strict parse.

mod fold;
mod id;
mod refusal;
mod sink;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use fold::lookalike;
pub use id::RequestId;
pub use refusal::ParseRefusal;
use sink::Fields;

use crate::Limits;
use crate::json::{self, Surrogates};

/// What one HTTP body or one line carries. Never a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "JSON-RPC knows no fourth kind")]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Answers a request of the other side.
    Response(Response<'a>),
}

/// A request, as far as a decision depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The id that the answer will carry.
    pub id: RequestId<'a>,
    /// The method, decoded.
    pub method: Cow<'a, str>,
    /// What it names.
    pub params: Params<'a>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification<'a> {
    /// The method, decoded; always below `notifications/`.
    pub method: Cow<'a, str>,
    /// What it names.
    pub params: Params<'a>,
}

/// A client's response to a request of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response<'a> {
    /// The id of the request that it answers.
    pub id: RequestId<'a>,
}

/// The members of `params` that name something, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Params<'a> {
    /// `name`: a tool or a prompt.
    pub name: Option<Cow<'a, str>>,
    /// `uri`: a resource.
    pub uri: Option<Cow<'a, str>>,
    /// `taskId`: a task.
    pub task_id: Option<Cow<'a, str>>,
    /// `ref`: what a completion completes.
    pub reference: Option<Reference<'a>>,
    /// `notifications`: what `subscriptions/listen` listens to.
    pub subscriptions: Subscriptions<'a>,
    /// `protocolVersion`: what `initialize` offers.
    pub offered_version: Option<Cow<'a, str>>,
    /// `_meta."io.modelcontextprotocol/protocolVersion"`: the mark of a 2026-07-28 request.
    pub protocol_version: Option<Cow<'a, str>>,
    /// `_meta.progressToken`, as it stands in the text.
    pub progress_token: Option<&'a str>,
    /// `arguments`, as they stand in the text.
    pub arguments: Option<&'a str>,
}

/// What `completion/complete` refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a third kind must be judged by a rule of its own")]
pub enum Reference<'a> {
    /// A prompt by name.
    Prompt(Cow<'a, str>),
    /// A resource template by URI.
    Resource(Cow<'a, str>),
}

/// What `subscriptions/listen` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscriptions<'a> {
    /// `resourceSubscriptions`.
    pub resources: Vec<Cow<'a, str>>,
    /// `taskIds`.
    pub tasks: Vec<Cow<'a, str>>,
}

impl Subscriptions<'_> {
    fn count(&self) -> usize {
        self.resources.len() + self.tasks.len()
    }
}

/// Parses one message of a client, strictly and whole.
///
/// # Errors
/// [`ParseRefusal`] says what is wrong; nothing of a refused message may be forwarded.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Message<'a>, ParseRefusal> {
    if bytes.len() > limits.body {
        return Err(ParseRefusal::TooLarge { limit: limits.body });
    }
    let mut fields = Fields::default();
    json::scan(bytes, limits.depth, Surrogates::Refused, sink::Place::Root, &mut fields)?;
    fields.finish()
}
