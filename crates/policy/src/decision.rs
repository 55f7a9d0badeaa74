//! The two outcomes, and the rule that each names.

use std::fmt;

use countermark_identity::AgentId;
use serde::Serialize;

use crate::UnsafeResource;

/// Proof that the policy allows one call. Only [`Policy::authorize`](crate::Policy::authorize) makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Permit {
    agent: AgentId,
    rule: RuleId,
}

impl Permit {
    pub(crate) const fn new(agent: AgentId, rule: RuleId) -> Self {
        Self { agent, rule }
    }

    /// Who may call.
    #[must_use]
    pub const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The grant that allows it.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        self.rule
    }
}

/// Why a call is not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "a new outcome must break every match on a denial")]
pub enum Denied {
    /// A deny takes it away, whatever is granted.
    #[error("denied by {rule}")]
    DeniedBy {
        /// The deny.
        rule: RuleId,
    },
    /// A grant lists it for those who hold a role that the caller's token does not.
    #[error("the token holds none of the roles of {rule}")]
    LacksRole {
        /// The first such grant.
        rule: RuleId,
    },
    /// A grant lists it for those whose token holds more scopes.
    #[error("the token lacks scopes of {rule}")]
    LacksScopes {
        /// The first such grant.
        rule: RuleId,
    },
    /// The agent has grants on this server, but none that lists this.
    #[error("no grant of the agent on this server lists it")]
    NoGrant,
    /// The agent has no grant at all on this server.
    #[error("the agent has no grant on this server")]
    NoGrantOnServer,
    /// A sub-agent: no rule speaks for those.
    #[error("sub-agents are granted nothing")]
    SubAgent,
    /// A resource URI that could mean another resource than the one that is matched.
    #[error("the resource URI is refused: {0}")]
    UnsafeResource(UnsafeResource),
}

impl Denied {
    /// Whether nothing but a missing grant stands in the way: all that `--danger-observe` may let pass.
    #[must_use]
    pub const fn lacks_grant(self) -> bool {
        matches!(self, Self::NoGrant | Self::NoGrantOnServer)
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub const fn rule(self) -> Option<RuleId> {
        match self {
            Self::DeniedBy { rule } | Self::LacksRole { rule } | Self::LacksScopes { rule } => Some(rule),
            Self::NoGrant | Self::NoGrantOnServer | Self::SubAgent | Self::UnsafeResource(_) => None,
        }
    }
}

/// Which rule of the file: `grant 2 (line 14)`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RuleId {
    effect: Effect,
    number: u32,
    line: u32,
}

impl RuleId {
    pub(crate) const fn new(effect: Effect, number: u32, line: u32) -> Self {
        Self { effect, number, line }
    }

    /// Whether it grants or denies.
    #[must_use]
    pub const fn effect(self) -> Effect {
        self.effect
    }

    /// Its number among the rules of its effect, from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// The line where it begins, from 1.
    #[must_use]
    pub const fn line(self) -> u32 {
        self.line
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (line {})", self.effect, self.number, self.line)
    }
}

impl Serialize for RuleId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a rule grants or denies")]
pub enum Effect {
    /// `[[grant]]`.
    Grant,
    /// `[[deny]]`.
    Deny,
}

impl Effect {
    /// The word, which is also the table's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
