//! Trust domains and SPIFFE IDs, exactly as written: nothing is normalised, so one identity has one spelling.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Role;
use crate::id::{NameError, parse_path, require_name};

/// A trust domain name
/// ([SPIFFE-ID §2.1](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain)).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name, as in `spiffe://<name>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(name: &str) -> Result<Self, TrustDomainError> {
        require_trust_domain(name)?;
        Ok(Self(name.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A SPIFFE ID: `spiffe://<trust domain><path>`
/// ([SPIFFE-ID §2](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity)).
///
/// A parsed ID has a path; an ID that names only its trust domain is refused, because it identifies no workload.
#[derive(Clone, Debug)]
pub struct SpiffeId {
    uri: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// `spiffe://<trust domain>/<role>/<name>`.
    ///
    /// # Errors
    /// [`SpiffeIdError`] if `name` is not one path segment (for an agent also `<name>/sub/<id>`), or the whole is too long.
    pub fn new(trust_domain: &TrustDomain, role: Role, name: &str) -> Result<Self, SpiffeIdError> {
        require_name(role, name).map_err(|cause| SpiffeIdError::Name { role, name: name.into(), cause })?;
        format!("{SCHEME}{trust_domain}/{role}/{name}").parse()
    }

    /// The trust domain, whose roots alone may vouch for this ID.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path, with its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.get(SCHEME.len() + self.trust_domain.0.len()..).unwrap_or_default()
    }

    /// The role that the path says, and the name in it; `None` for a path that is not one of ours.
    #[must_use]
    pub fn role(&self) -> Option<(Role, &str)> {
        parse_path(self.path())
    }

    /// The whole URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(uri: &str) -> Result<Self, SpiffeIdError> {
        if uri.len() > MAX_URI {
            return Err(SpiffeIdError::TooLong { length: uri.len() });
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain: TrustDomain = name.parse()?;
        require_path(path)?;
        Ok(Self { uri: uri.into(), trust_domain })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

// The URI says it all: equality, order and hash are those of the text.
impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}
impl Eq for SpiffeId {}
impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uri.cmp(&other.uri)
    }
}
impl std::hash::Hash for SpiffeId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}
impl Borrow<str> for SpiffeId {
    fn borrow(&self) -> &str {
        &self.uri
    }
}

macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_text!(TrustDomain, SpiffeId);

/// Why something is no trust domain name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustDomainError {
    /// A character outside `a-z 0-9 . - _`; ports, user info, upper case and percent signs land here.
    #[error("the trust domain has {found:?} in it: only lower-case letters, digits, '.', '-' and '_' are allowed")]
    Character {
        /// The first character that is refused.
        found: char,
    },
    /// Nothing there.
    #[error("the trust domain is empty")]
    Empty,
    /// More than 255 bytes.
    #[error("the trust domain has {length} bytes: at most {MAX_TRUST_DOMAIN} are allowed")]
    TooLong {
        /// How many there are.
        length: usize,
    },
}

/// Why something is no SPIFFE ID.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// A character outside `a-z A-Z 0-9 . - _` in the path; queries, fragments and percent signs land here.
    #[error("the path of the SPIFFE ID has {found:?} in it: only letters, digits, '.', '-' and '_' are allowed")]
    Character {
        /// The first character that is refused.
        found: char,
    },
    /// A segment that is `.` or `..`.
    #[error("the path of the SPIFFE ID has a segment '.' or '..': such segments are not allowed")]
    DotSegment,
    /// Two slashes in a row, or one at the end.
    #[error("the path of the SPIFFE ID has an empty segment: no double and no trailing slash is allowed")]
    EmptySegment,
    /// A name that does not fit its role.
    #[error("{name:?} is no name for {role}: {cause}")]
    Name {
        /// The role.
        role: Role,
        /// The name as given.
        name: String,
        /// What is wrong with it.
        cause: NameError,
    },
    /// A trust domain without a path.
    #[error("the SPIFFE ID has no path: it names a trust domain, not a workload")]
    NoPath,
    /// It does not begin with `spiffe://`, in lower case.
    #[error("a SPIFFE ID begins with spiffe:// in lower case")]
    Scheme,
    /// More than 2048 bytes.
    #[error("the SPIFFE ID has {length} bytes: at most {MAX_URI} are allowed")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// The trust domain is wrong.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
}

/// > A SPIFFE ID … the trust domain name … MUST NOT exceed 255 bytes; lower-case letters, digits, dots, dashes, underscores.
fn require_trust_domain(name: &str) -> Result<(), TrustDomainError> {
    if name.is_empty() {
        return Err(TrustDomainError::Empty);
    }
    if name.len() > MAX_TRUST_DOMAIN {
        return Err(TrustDomainError::TooLong { length: name.len() });
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    name.chars().find(|&c| !allowed(c)).map_or(Ok(()), |found| Err(TrustDomainError::Character { found }))
}

/// One or more segments, each behind a slash.
fn require_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Err(SpiffeIdError::NoPath);
    };
    segments.split('/').try_for_each(require_segment)
}

fn require_segment(segment: &str) -> Result<(), SpiffeIdError> {
    match segment {
        "" => Err(SpiffeIdError::EmptySegment),
        "." | ".." => Err(SpiffeIdError::DotSegment),
        _ => match segment.chars().find(|&c| !is_path_character(c)) {
            Some(found) => Err(SpiffeIdError::Character { found }),
            None => Ok(()),
        },
    }
}

/// Whether a SPIFFE path segment may hold this character.
pub(crate) const fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

const SCHEME: &str = "spiffe://";
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_URI: usize = 2048;

#[cfg(test)]
mod tests;
