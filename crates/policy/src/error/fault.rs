//! What can be wrong with a policy file, and what to do about each.

use countermark_identity::{MapError, SpiffeIdError, TrustDomainError};

use crate::UnsafeResource;

/// What can be wrong with a policy file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A name in `who` that no agent can have.
    #[error("{text:?} can be no agent's name: {}", reason(.cause))]
    Agent {
        /// As written.
        text: String,
        /// Why not.
        cause: SpiffeIdError,
    },
    /// A list without elements, or a text without characters.
    #[error("`{key}` is empty")]
    Empty {
        /// The key.
        key: String,
    },
    /// A star in a SPIFFE ID.
    #[error("{text:?} has a '*' in it: agents of another trust domain are named one by one")]
    ForeignGlob {
        /// As written.
        text: String,
    },
    /// A server of another trust domain.
    #[error("{text:?} is no server of this trust domain")]
    ForeignServer {
        /// As written.
        text: String,
    },
    /// Groups that name each other in a circle.
    #[error("@{group} contains itself")]
    GroupCycle {
        /// The group.
        group: String,
    },
    /// A group's name with odd characters.
    #[error("{name:?} is no name for a group")]
    GroupName {
        /// As written.
        name: String,
    },
    /// An entry of `[map]`.
    #[error("{0}")]
    Map(MapError),
    /// A key that must be there.
    #[error("`{key}` is missing from {place}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Where it belongs.
        place: &'static str,
    },
    /// A pattern that can match nothing, for this reason.
    #[error("{text:?} can never match: {cause}")]
    NeverMatches {
        /// As written.
        text: String,
        /// Why not.
        cause: NeverMatches,
    },
    /// A grant that lists nothing.
    #[error("the grant lists no tools, prompts, resources or methods, so that it permits nothing")]
    NoKinds,
    /// A SPIFFE ID in `who` that is no agent's.
    #[error("{text:?} is no agent's SPIFFE ID")]
    NotAnAgent {
        /// As written.
        text: String,
    },
    /// A condition that is understood, but not enforced by this version.
    #[error("`{key}` is not enforced by this version: a rule must not promise what nobody keeps")]
    NotEnforced {
        /// The key.
        key: &'static str,
    },
    /// A scope that no token can hold.
    #[error("{text:?} is no scope: one has no spaces, quotation marks or backslashes")]
    NotScope {
        /// As written.
        text: String,
    },
    /// A deny that would spare those who hold something.
    #[error("`{key}` does not belong in a deny, which is for everybody whom it names")]
    RightsOfDeny {
        /// The key.
        key: &'static str,
    },
    /// An unknown word for how a trust domain's revocation is looked at.
    #[error("{found:?} is no revocation mode")]
    Revocation {
        /// As written.
        found: String,
    },
    /// A SAN where an agent's name belongs.
    #[error("{text:?} is a name of a certificate, not of an agent")]
    SanInWho {
        /// As written.
        text: String,
    },
    /// A method that other rules decide.
    #[error("`{method}` is never decided by `methods`")]
    NotByMethod {
        /// As written.
        method: String,
        /// The key that decides it; none for what any grant allows.
        key: Option<&'static str>,
    },
    /// A name in `servers` that no server can have.
    #[error("{text:?} can be no server's name: {}", reason(.cause))]
    Server {
        /// As written.
        text: String,
        /// Why not.
        cause: SpiffeIdError,
    },
    /// A SPIFFE ID that is none.
    #[error("{text:?} is no SPIFFE ID: {cause}")]
    SpiffeId {
        /// As written.
        text: String,
        /// Why not.
        cause: SpiffeIdError,
    },
    /// A backslash before something other than `*` or `\`.
    #[error("{text:?} has a lone backslash in it")]
    StrayBackslash {
        /// As written.
        text: String,
    },
    /// A sub-agent.
    #[error("{text:?} names a sub-agent: those are granted nothing")]
    SubAgent {
        /// As written.
        text: String,
    },
    /// Not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// Not a trust domain.
    #[error("{text:?} is no trust domain: {cause}")]
    TrustDomain {
        /// As written.
        text: String,
        /// Why not.
        cause: TrustDomainError,
    },
    /// A `@group` that is not defined.
    #[error("@{group} is not defined")]
    UnknownGroup {
        /// As written.
        group: String,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}` in {place}")]
    UnknownKey {
        /// As written.
        key: String,
        /// Where it stands.
        place: &'static str,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
        /// Those that are known.
        known: &'static [&'static str],
    },
    /// Another version of the format.
    #[error("version {found} of the policy format is not known here")]
    Version {
        /// As written.
        found: String,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}, but {wanted} is wanted")]
    WrongType {
        /// The key.
        key: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Why a pattern can match nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NeverMatches {
    /// A character that the names it is compared with cannot have.
    #[error("such a name has no {found:?} in it")]
    Character {
        /// The character.
        found: char,
    },
    /// A resource URI that is refused before any rule is looked at.
    #[error("{0}, and such a URI is refused before any rule is looked at")]
    Unsafe(UnsafeResource),
}

impl Fault {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownKey { nearest: Some(key), .. } => format!("did you mean `{key}`?"),
            Self::UnknownKey { known, .. } => format!("known keys: {}", known.join(", ")),
            Self::UnknownGroup { nearest: Some(group), .. } => format!("did you mean @{group}?"),
            Self::UnknownGroup { group, .. } => format!("define it: [groups] {group} = [\"agent-name\"]"),
            Self::Missing { key, .. } => format!("add {}", example(key)),
            Self::NotByMethod { key: Some(key), .. } => format!("list the names under `{key}`"),
            Self::NotEnforced { key } => format!("remove `{key}`, or narrow the rule by other means"),
            Self::WrongType { key, wanted, .. } => format!("write {key} = {}", example_of_type(wanted)),
            other => other.fixed_remedy().into(),
        }
    }

    const fn fixed_remedy(&self) -> &'static str {
        match self {
            Self::Agent { .. } => "write the name as in /agent/<name>, a glob, a @group or a full SPIFFE ID",
            Self::Empty { .. } => "list at least one name, or remove the whole rule: an empty list matches nobody",
            Self::ForeignGlob { .. } => "write each full SPIFFE ID, spiffe://<trust domain>/agent/<name>",
            Self::ForeignServer { .. } | Self::Server { .. } => "write the name as in /server/<name>, or a glob",
            Self::GroupCycle { .. } => "remove it from the groups that it names",
            Self::GroupName { .. } => "use letters, digits, '.', '-' and '_'",
            Self::Map(_) => "mend the entry of [map]",
            Self::NeverMatches { .. } => "write it as the name is sent, or remove it",
            Self::NoKinds => "add tools = [\"…\"], prompts, resources or methods",
            Self::NotByMethod { .. } => "remove it: only a deny that lists no kind takes the protocol itself away",
            Self::NotScope { .. } => "list each scope by itself, as the authorization server names it",
            Self::RightsOfDeny { .. } => "write it in the grant that it should narrow",
            Self::NotAnAgent { .. } => {
                "write spiffe://<trust domain>/agent/<name>; for another path add an entry to [map]"
            }
            Self::Revocation { .. } => "write \"required\" or \"danger_none\"",
            Self::SanInWho { .. } => "map it to an agent in [map] and write that agent's name here",
            Self::SpiffeId { .. } => "write spiffe://<trust domain>/agent/<name>",
            Self::StrayBackslash { .. } => {
                "write \\\\ for a backslash and \\* for a star (in single quotes, or doubled)"
            }
            Self::SubAgent { .. } => "name the agent itself",
            Self::Syntax { .. } => "see https://toml.io for the syntax",
            Self::TrustDomain { .. } => "write the name as in spiffe://<trust domain>/…, without the scheme",
            Self::Version { .. } => "write version = 1",
            _ => "see the format of the policy file",
        }
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "version" => "version = 1",
        "trust_domain" => "trust_domain = \"agents.internal\"",
        "who" => "who = [\"agent-name\"]",
        "servers" => "servers = [\"server-name\"]",
        "agent" => "agent = \"agent-name\"",
        _ => "it",
    }
}

fn example_of_type(wanted: &str) -> &'static str {
    match wanted {
        "a list of texts" => "[\"…\"]",
        "a table" => "{ … }",
        "an integer" => "1",
        "a list of tables" => "… as a [[table]]",
        _ => "\"…\"",
    }
}

/// The cause alone, where the text has been quoted already.
fn reason(cause: &SpiffeIdError) -> String {
    match cause {
        SpiffeIdError::Name { cause, .. } => cause.to_string(),
        other => other.to_string(),
    }
}
