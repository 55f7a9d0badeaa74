//! What an agent asks of a server, as the policy sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a call asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind of action must break every match that decides")]
pub enum Action<'a> {
    /// `initialize`, `ping`, `server/discover`, the lists and the notifications: one grant on the server is enough.
    Protocol,
    /// A tool, by name.
    Tool(&'a str),
    /// A prompt, by name.
    Prompt(&'a str),
    /// A resource, by URI.
    Resource(&'a str),
    /// Any other method, by name.
    Method(&'a str),
}

impl<'a> Action<'a> {
    /// The action on the thing of that kind and name.
    #[must_use]
    pub const fn on(kind: Kind, name: &'a str) -> Self {
        match kind {
            Kind::Tool => Self::Tool(name),
            Kind::Prompt => Self::Prompt(name),
            Kind::Resource => Self::Resource(name),
            Kind::Method => Self::Method(name),
        }
    }

    /// Kind and name of what is asked for; `None` for the protocol itself.
    #[must_use]
    pub const fn subject(self) -> Option<(Kind, &'a str)> {
        match self {
            Self::Protocol => None,
            Self::Tool(name) => Some((Kind::Tool, name)),
            Self::Prompt(name) => Some((Kind::Prompt, name)),
            Self::Resource(uri) => Some((Kind::Resource, uri)),
            Self::Method(name) => Some((Kind::Method, name)),
        }
    }
}

/// The kinds of things that a rule lists.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a new kind must break every match that decides")]
pub enum Kind {
    /// `tools = […]`.
    Tool,
    /// `prompts = […]`.
    Prompt,
    /// `resources = […]`.
    Resource,
    /// `methods = […]`.
    Method,
}

impl Kind {
    /// All of them, in the order of the file format.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::Method];

    /// The word for one: `tool`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Method => "method",
        }
    }

    /// The key of a rule: `tools`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::Method => "methods",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
