//! Profiles: what a certificate of a role may be. Three are embedded; an authority's directory holds copies to change.

mod document;

use std::{fmt, net::IpAddr, time::Duration};

use countermark_identity::{Role, SpiffeId};
use serde::Deserialize;

use self::document::Document;
use crate::key::KeyType;

/// What certificates of one role may be.
#[derive(Clone, Debug)]
pub struct Profile {
    role: Role,
    keys: Vec<KeyType>,
    min_ttl: Duration,
    default_ttl: Duration,
    max_ttl: Duration,
    san: SanTemplate,
}

impl Profile {
    /// Reads a profile; unknown keys, values out of bounds and what no X509-SVID may be are refused.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let document: Document = toml::from_str(text).map_err(|error| ProfileError::from_toml(text, &error))?;
        document.into_profile().map_err(|(at, message)| ProfileError::at(text, at, message))
    }

    /// The embedded profile of `role`.
    pub fn embedded(role: Role) -> Result<Self, ProfileError> {
        Self::parse(Self::embedded_text(role))
    }

    /// The embedded profile of `role` as text, to be written to an authority's directory.
    #[must_use]
    pub const fn embedded_text(role: Role) -> &'static str {
        match role {
            Role::Agent => include_str!("../profiles/agent.toml"),
            Role::Server => include_str!("../profiles/server.toml"),
            Role::Admin => include_str!("../profiles/admin.toml"),
        }
    }

    /// Whose certificates these are.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The kind of key to make where no request brings one.
    #[must_use]
    pub fn default_key(&self) -> KeyType {
        self.keys.first().copied().unwrap_or_default()
    }

    /// Whether keys of this kind are certified.
    #[must_use]
    pub fn accepts(&self, key: KeyType) -> bool {
        self.keys.contains(&key)
    }

    /// The kinds of keys, as the profile lists them.
    #[must_use]
    pub fn keys(&self) -> &[KeyType] {
        &self.keys
    }

    /// The shortest life that may be asked for.
    #[must_use]
    pub const fn min_ttl(&self) -> Duration {
        self.min_ttl
    }

    /// The life where none is asked for.
    #[must_use]
    pub const fn default_ttl(&self) -> Duration {
        self.default_ttl
    }

    /// The longest life that may be asked for.
    #[must_use]
    pub const fn max_ttl(&self) -> Duration {
        self.max_ttl
    }

    /// What names a certificate carries.
    #[must_use]
    pub const fn san(&self) -> &SanTemplate {
        &self.san
    }
}

/// What names a certificate carries beside and including its identity.
#[derive(Clone, Debug)]
pub struct SanTemplate {
    uri: String,
    dns: Vec<String>,
    requested: Vec<RequestableName>,
}

impl SanTemplate {
    /// The URI of `identity` by this template.
    #[must_use]
    pub fn uri(&self, identity: &SpiffeId) -> String {
        fill(&self.uri, identity)
    }

    /// The DNS names that every certificate of this profile carries.
    pub fn dns(&self, identity: &SpiffeId) -> impl Iterator<Item = String> {
        self.dns.iter().map(|template| fill(template, identity))
    }

    /// Whether a request may add names of this kind.
    #[must_use]
    pub fn permits(&self, kind: RequestableName) -> bool {
        self.requested.contains(&kind)
    }
}

/// A kind of name that a request may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a new kind of name must break every match on it")]
pub enum RequestableName {
    /// DNS names.
    Dns,
    /// IP addresses.
    Ip,
}

impl fmt::Display for RequestableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns",
            Self::Ip => "ip",
        })
    }
}

/// Why a profile is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
#[non_exhaustive]
pub struct ProfileError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Cause and remedy.
    pub message: String,
}

impl ProfileError {
    fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        Self::at(text, at, error.message().to_owned())
    }

    fn at(text: &str, at: usize, message: String) -> Self {
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column, message }
    }
}

/// A DNS name as it may stand in a certificate: lower-case labels, no wildcard, no address, no trailing dot.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253
        && name.split('.').all(label)
        && name.parse::<IpAddr>().is_err()
        && !name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn fill(template: &str, identity: &SpiffeId) -> String {
    let name = identity.role().map_or("", |(_, name)| name);
    // Neither a trust domain nor a name can contain a brace, so the order of the two does not matter.
    template.replace(TRUST_DOMAIN, identity.trust_domain().as_str()).replace(NAME, name)
}

const TRUST_DOMAIN: &str = "{trust_domain}";
const NAME: &str = "{name}";

#[cfg(test)]
mod tests;
