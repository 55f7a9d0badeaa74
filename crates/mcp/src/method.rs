//! The method table of both eras: what a request needs to be permitted, and what its name is.

use std::borrow::Cow;

use countermark_policy::Action;

use crate::{Params, Reference};

/// What has to be permitted before a message is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// One grant on the server.
    Protocol,
    /// A tool.
    Tool(Box<str>),
    /// A prompt.
    Prompt(Box<str>),
    /// A resource.
    Resource(Box<str>),
    /// A method that no table knows.
    Method(Box<str>),
    /// The task belongs to the caller, who may still use what made it.
    Task(Box<str>),
}

impl Demand {
    /// The action that the policy is asked for; a task's is that of the call that made it.
    pub(crate) fn action(&self) -> Action<'_> {
        match self {
            Self::Protocol | Self::Task(_) => Action::Protocol,
            Self::Tool(name) => Action::Tool(name),
            Self::Prompt(name) => Action::Prompt(name),
            Self::Resource(uri) => Action::Resource(uri),
            Self::Method(name) => Action::Method(name),
        }
    }

    /// Its kind, as the audit says it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Tool(_) => "tool",
            Self::Prompt(_) => "prompt",
            Self::Resource(_) => "resource",
            Self::Method(_) => "method",
            Self::Task(_) => "task",
        }
    }

    /// Its name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Protocol => None,
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) | Self::Method(name) | Self::Task(name) => {
                Some(name)
            }
        }
    }
}

/// A list whose answer is filtered, by the member of the result that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
    Templates,
    Tasks,
}

impl List {
    pub(crate) fn of(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            "tasks/list" => Some(Self::Tasks),
            _ => None,
        }
    }

    const ALL: [Self; 5] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates, Self::Tasks];

    /// The list that this member of a result could be.
    pub(crate) fn in_result(member: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.members().0 == member)
    }

    /// The member of `result`, and the member of each item that names it.
    pub(crate) fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools", "name"),
            Self::Prompts => ("prompts", "name"),
            Self::Resources => ("resources", "uri"),
            Self::Templates => ("resourceTemplates", "uriTemplate"),
            Self::Tasks => ("tasks", "taskId"),
        }
    }
}

/// A request lacks the member that says what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unnamed(pub(crate) &'static str);

/// What this message needs, in the order in which it is asked; never empty.
pub(crate) fn demands(method: &str, params: &Params<'_>) -> Result<Vec<Demand>, Unnamed> {
    let one = match method {
        "tools/call" => Demand::Tool(owned(params.name.as_ref(), "params.name")?),
        "prompts/get" => Demand::Prompt(owned(params.name.as_ref(), "params.name")?),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            Demand::Resource(owned(params.uri.as_ref(), "params.uri")?)
        }
        "completion/complete" => match params.reference.as_ref().ok_or(Unnamed("params.ref"))? {
            Reference::Prompt(name) => Demand::Prompt(name.as_ref().into()),
            Reference::Resource(uri) => Demand::Resource(uri.as_ref().into()),
        },
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => {
            Demand::Task(owned(params.task_id.as_ref(), "params.taskId")?)
        }
        "subscriptions/listen" => return Ok(listen(params)),
        "initialize"
        | "ping"
        | "server/discover"
        | "tools/list"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list"
        | "tasks/list"
        | "logging/setLevel" => Demand::Protocol,
        notification if notification.starts_with("notifications/") => Demand::Protocol,
        other => Demand::Method(other.into()),
    };
    Ok(vec![one])
}

/// The value that `Mcp-Name` mirrors, if the method has one.
pub(crate) fn mirrored_name<'p>(method: &str, params: &'p Params<'_>) -> Option<&'p str> {
    match method {
        "tools/call" | "prompts/get" => params.name.as_deref(),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => params.uri.as_deref(),
        "tasks/get" | "tasks/result" | "tasks/update" | "tasks/cancel" => params.task_id.as_deref(),
        _ => None,
    }
}

/// > Required … `Mcp-Name`: `tools/call`, `resources/read`, `prompts/get`.
pub(crate) fn requires_name(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// Whether 2026-07-28 has removed this method of the older era.
pub(crate) fn is_removed(method: &str) -> bool {
    matches!(method, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}

fn listen(params: &Params<'_>) -> Vec<Demand> {
    let named = &params.subscriptions;
    std::iter::once(Demand::Protocol)
        .chain(named.resources.iter().map(|uri| Demand::Resource(uri.as_ref().into())))
        .chain(named.tasks.iter().map(|task| Demand::Task(task.as_ref().into())))
        .collect()
}

fn owned(value: Option<&Cow<'_, str>>, key: &'static str) -> Result<Box<str>, Unnamed> {
    value.map(|text| Box::from(text.as_ref())).ok_or(Unnamed(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Message, parse};

    fn of(method: &str, params: &str) -> Result<Vec<Demand>, Unnamed> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        match parse(text.as_bytes(), &Limits::default()).unwrap() {
            Message::Request(request) => demands(&request.method, &request.params),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_method_needs_what_the_table_says() {
        for method in [
            "initialize",
            "ping",
            "server/discover",
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "tasks/list",
            "logging/setLevel",
        ] {
            assert_eq!(of(method, "{}"), Ok(vec![Demand::Protocol]), "{method}");
        }
        assert_eq!(of("tools/call", r#"{"name":"t"}"#), Ok(vec![Demand::Tool("t".into())]));
        assert_eq!(of("prompts/get", r#"{"name":"p"}"#), Ok(vec![Demand::Prompt("p".into())]));
        for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
            assert_eq!(of(method, r#"{"uri":"u:x"}"#), Ok(vec![Demand::Resource("u:x".into())]));
            assert_eq!(of(method, r#"{"name":"u:x"}"#), Err(Unnamed("params.uri")));
        }
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            assert_eq!(of(method, r#"{"taskId":"t"}"#), Ok(vec![Demand::Task("t".into())]));
            assert_eq!(of(method, "{}"), Err(Unnamed("params.taskId")));
        }
        assert_eq!(
            of("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#),
            Ok(vec![Demand::Prompt("p".into())])
        );
        assert_eq!(of("completion/complete", "{}"), Err(Unnamed("params.ref")));
        assert_eq!(of("tools/call", "{}"), Err(Unnamed("params.name")));
    }

    #[test]
    fn listening_needs_everything_that_it_names() {
        assert_eq!(
            of("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":["a:"],"taskIds":["t"]}}"#),
            Ok(vec![Demand::Protocol, Demand::Resource("a:".into()), Demand::Task("t".into())])
        );
    }

    #[test]
    fn any_other_method_needs_a_grant_of_its_own() {
        for method in
            ["Tools/call", "tools/call ", "tools/Call", "vendor/x", "", "resources/directory/read", "skills/get"]
        {
            assert_eq!(of(method, r#"{"name":"t"}"#), Ok(vec![Demand::Method(method.into())]), "{method}");
        }
    }
}
