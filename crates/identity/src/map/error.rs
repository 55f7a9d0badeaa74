//! Why an entry is refused, and why a leaf is nobody.

use crate::{San, SanError, SpiffeId, SpiffeIdError, TrustDomain};

/// Why an entry of `[map]` is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The agent's name is none.
    #[error("{0}")]
    Agent(SpiffeIdError),
    /// A SPIFFE ID that cannot verify under the bundle named.
    #[error("{id} verifies under the bundle of {}, but the entry is for {bundle}: write bundle = \"{}\"",
        .id.trust_domain(), .id.trust_domain())]
    Bundle {
        /// The bundle of the entry.
        bundle: TrustDomain,
        /// The SPIFFE ID.
        id: SpiffeId,
    },
    /// The same name twice.
    #[error("{san:?} is mapped twice: exactly one entry may match a name")]
    Duplicate {
        /// The name as written.
        san: String,
    },
    /// Not an IP address.
    #[error("{san:?} is no IP address: write ip:192.0.2.1 or ip:2001:db8::1")]
    Ip {
        /// The name as written.
        san: String,
    },
    /// No kind, or an unknown one.
    #[error("{san:?} does not say what kind of name it is: begin with dns:, email:, ip:, uri: or spiffe://")]
    Kind {
        /// The name as written.
        san: String,
    },
    /// An identity of the own trust domain, which needs no entry and gets no second meaning.
    #[error("{id} says by itself who it is: remove the entry")]
    OwnIdentity {
        /// The SPIFFE ID.
        id: SpiffeId,
    },
    /// The name is odd in itself.
    #[error("{san:?} is refused: {cause}")]
    San {
        /// The name as written.
        san: String,
        /// What is wrong with it.
        cause: SanError,
    },
    /// Not a SPIFFE ID.
    #[error("{0}")]
    SpiffeId(SpiffeIdError),
    /// A map names agents, not sub-agents.
    #[error("{agent:?} has a slash in it: a mapped name stands for an agent, never for a sub-agent")]
    SubAgent {
        /// The name as written.
        agent: String,
    },
    /// A star where none is allowed.
    #[error("{san:?} has a '*' in it: only the first label of a DNS name may be one")]
    Wildcard {
        /// The name as written.
        san: String,
    },
}

/// Why a leaf that parses is nobody.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// More than one entry of the map matches.
    #[error("{entries} entries of the map match {}: exactly one must", join(.sans))]
    Ambiguous {
        /// The names of the leaf.
        sans: Vec<San>,
        /// How many entries match.
        entries: usize,
    },
    /// No SPIFFE ID, and no entry of the map matches.
    #[error("the certificate has no SPIFFE ID and no entry of the map matches {}", join(.sans))]
    Unmapped {
        /// The names of the leaf.
        sans: Vec<San>,
    },
    /// A SPIFFE ID whose path is not one of ours, and that no entry of the map names.
    #[error("{id} is not /agent/…, /server/… or /admin/… and no entry of the map names it")]
    UnmappedPath {
        /// The SPIFFE ID.
        id: SpiffeId,
    },
}

fn join(sans: &[San]) -> String {
    match sans {
        [] => String::from("its names (it has none of a kind that can be mapped)"),
        names => names.iter().map(San::to_string).collect::<Vec<_>>().join(", "),
    }
}
