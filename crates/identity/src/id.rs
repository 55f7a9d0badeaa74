//! Who can be meant: agents, servers, administrators, told apart by the path of their SPIFFE ID and by nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::spiffe::is_path_character;
use crate::{SpiffeId, SpiffeIdError, TrustDomain};

/// What an identity may be, as its path says. Never read from a key usage, a subject or a header.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "a new role must break every match that decides by role")]
pub enum Role {
    /// `/admin/…`: administers the authority; never a peer of guard.
    Admin,
    /// `/agent/…`: the program that calls.
    Agent,
    /// `/server/…`: the MCP server that is called.
    Server,
}

impl Role {
    /// The first path segment.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Agent => "agent",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Admin, Self::Agent, Self::Server].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole(()))
    }
}

/// Text that is none of `admin`, `agent`, `server`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a role is one of admin, agent, server")]
pub struct UnknownRole(());

macro_rules! role_id {
    ($(#[$doc:meta])* $name:ident, $role:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(SpiffeId);

        impl $name {
            /// The ID of this name in this trust domain.
            ///
            /// # Errors
            /// [`SpiffeIdError`] if the name does not fit the role.
            pub fn new(trust_domain: &TrustDomain, name: &str) -> Result<Self, SpiffeIdError> {
                SpiffeId::new(trust_domain, $role, name).map(Self)
            }

            /// The trust domain.
            #[must_use]
            pub const fn trust_domain(&self) -> &TrustDomain {
                self.0.trust_domain()
            }

            /// The name: the path after the role.
            #[must_use]
            pub fn name(&self) -> &str {
                self.0.path().get($role.as_str().len() + 2..).unwrap_or_default()
            }

            /// The whole SPIFFE ID.
            #[must_use]
            pub const fn spiffe_id(&self) -> &SpiffeId {
                &self.0
            }
        }

        impl TryFrom<SpiffeId> for $name {
            type Error = WrongRole;

            fn try_from(id: SpiffeId) -> Result<Self, WrongRole> {
                match id.role() {
                    Some((role, _)) if role == $role => Ok(Self(id)),
                    _ => Err(WrongRole { wanted: $role, found: id }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                SpiffeId::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
            }
        }
    };
}

role_id!(
    /// An agent: `spiffe://<td>/agent/<name>`, or a sub-agent `…/agent/<name>/sub/<id>`. Displays as its name.
    AgentId,
    Role::Agent
);
role_id!(
    /// A server: `spiffe://<td>/server/<name>`. Displays as its name.
    ServerId,
    Role::Server
);
role_id!(
    /// An administrator of the authority: `spiffe://<td>/admin/<name>`. Displays as its name.
    AdminId,
    Role::Admin
);

impl AgentId {
    /// Whether this is a sub-agent, `<name>/sub/<id>`.
    #[must_use]
    pub fn is_sub_agent(&self) -> bool {
        self.name().contains('/')
    }
}

/// The one identity that a leaf yields.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "a new role must break every match that decides by role")]
pub enum Identity {
    /// An administrator.
    Admin(AdminId),
    /// An agent.
    Agent(AgentId),
    /// A server.
    Server(ServerId),
}

impl Identity {
    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Admin(_) => Role::Admin,
            Self::Agent(_) => Role::Agent,
            Self::Server(_) => Role::Server,
        }
    }

    /// The whole SPIFFE ID.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        match self {
            Self::Admin(id) => id.spiffe_id(),
            Self::Agent(id) => id.spiffe_id(),
            Self::Server(id) => id.spiffe_id(),
        }
    }

    /// The name: the path after the role.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Admin(id) => id.name(),
            Self::Agent(id) => id.name(),
            Self::Server(id) => id.name(),
        }
    }
}

impl TryFrom<SpiffeId> for Identity {
    type Error = SpiffeId;

    /// Reads the role from the path; hands an ID back whose path is not one of ours.
    fn try_from(id: SpiffeId) -> Result<Self, SpiffeId> {
        match id.role() {
            Some((Role::Admin, _)) => Ok(Self::Admin(AdminId(id))),
            Some((Role::Agent, _)) => Ok(Self::Agent(AgentId(id))),
            Some((Role::Server, _)) => Ok(Self::Server(ServerId(id))),
            None => Err(id),
        }
    }
}

impl fmt::Display for Identity {
    /// Writes role and name: `agent billing-bot`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role(), self.name())
    }
}

/// A SPIFFE ID of another role than the one wanted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found} is not of the form spiffe://<trust domain>/{wanted}/<name>")]
#[non_exhaustive]
pub struct WrongRole {
    /// The role that was wanted.
    pub wanted: Role,
    /// What was found instead.
    pub found: SpiffeId,
}

/// What is wrong with the name of an identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A character outside `a-z A-Z 0-9 . - _`.
    #[error("{found:?} is not allowed: letters, digits, '.', '-' and '_' are")]
    Character {
        /// The first character that is refused.
        found: char,
    },
    /// `.` or `..`.
    #[error("'.' and '..' are no names")]
    Dots,
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Slashes that are not those of a sub-agent.
    #[error("it has slashes: a name is one segment, a sub-agent's is <name>/sub/<id>")]
    Segments,
}

/// Role and name of a path of ours, `/<role>/<name>`.
pub(crate) fn parse_path(path: &str) -> Option<(Role, &str)> {
    let (role, name) = path.strip_prefix('/')?.split_once('/')?;
    let role = role.parse().ok()?;
    require_name(role, name).ok()?;
    Some((role, name))
}

/// A single segment; for an agent also `<name>/sub/<id>`.
pub(crate) fn require_name(role: Role, name: &str) -> Result<(), NameError> {
    let mut segments = name.split('/');
    require_segment(segments.next().unwrap_or_default())?;
    match (segments.next(), segments.next(), segments.next()) {
        (None, ..) => Ok(()),
        (Some("sub"), Some(id), None) if role == Role::Agent => require_segment(id),
        _ => Err(NameError::Segments),
    }
}

fn require_segment(segment: &str) -> Result<(), NameError> {
    match segment {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots),
        _ => match segment.chars().find(|&c| !is_path_character(c)) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
