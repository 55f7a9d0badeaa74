//! Profiles: what a certificate of a role may be. Three are embedded; an authority's directory holds copies to change.

use std::{fmt, net::IpAddr, time::Duration};

use countermark_identity::{Role, SpiffeId};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

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
            Role::Agent => include_str!("../../../certs/profiles/agent.toml"),
            Role::Server => include_str!("../../../certs/profiles/server.toml"),
            Role::Admin => include_str!("../../../certs/profiles/admin.toml"),
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "role")]
    role: Role,
    keys: Spanned<Vec<KeyType>>,
    extended_key_usage: Spanned<Vec<String>>,
    min_ttl: Spanned<Ttl>,
    default_ttl: Spanned<Ttl>,
    max_ttl: Spanned<Ttl>,
    san: SanDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SanDocument {
    uri: Spanned<String>,
    #[serde(default)]
    dns: Vec<Spanned<String>>,
    #[serde(default)]
    requested: Vec<RequestableName>,
}

impl Document {
    fn into_profile(self) -> Result<Profile, (usize, String)> {
        require_keys(&self.keys)?;
        require_both_usages(&self.extended_key_usage)?;
        let (min, default, max) = self.ttls()?;
        Ok(Profile {
            role: self.role,
            keys: self.keys.into_inner(),
            min_ttl: min,
            default_ttl: default,
            max_ttl: max,
            san: self.san.into_template(self.role)?,
        })
    }

    fn ttls(&self) -> Result<(Duration, Duration, Duration), (usize, String)> {
        let ttl = |ttl: &Spanned<Ttl>| ttl.get_ref().0;
        let (min, default, max) = (ttl(&self.min_ttl), ttl(&self.default_ttl), ttl(&self.max_ttl));
        if min < MIN_TTL {
            return Err((
                self.min_ttl.span().start,
                "min_ttl is below 1m; certificates that short cannot be renewed in time".into(),
            ));
        }
        if max > MAX_TTL {
            return Err((self.max_ttl.span().start, "max_ttl is above 24h; renew instead of living longer".into()));
        }
        if !(min <= default && default <= max) {
            return Err((self.default_ttl.span().start, "default_ttl lies outside min_ttl and max_ttl".into()));
        }
        Ok((min, default, max))
    }
}

impl SanDocument {
    fn into_template(self, role: Role) -> Result<SanTemplate, (usize, String)> {
        let at = self.uri.span().start;
        let uri = self.uri.into_inner();
        let wanted = format!("spiffe://{{trust_domain}}/{role}/{{name}}");
        if uri != wanted {
            return Err((
                at,
                format!(
                    "the URI of a profile for role {role} is \"{wanted}\"; SANs of other shapes are for the policy's [map]"
                ),
            ));
        }
        let mut dns = Vec::with_capacity(self.dns.len());
        for template in self.dns {
            let at = template.span().start;
            let template = template.into_inner();
            let sample = template.replace(NAME, "name").replace(TRUST_DOMAIN, "trust.domain");
            if !is_dns_name(&sample) {
                return Err((
                    at,
                    format!("\"{template}\" does not make a DNS name; {NAME} and {TRUST_DOMAIN} are filled in"),
                ));
            }
            dns.push(template);
        }
        Ok(SanTemplate { uri, dns, requested: self.requested })
    }
}

fn require_keys(keys: &Spanned<Vec<KeyType>>) -> Result<(), (usize, String)> {
    if keys.get_ref().is_empty() {
        return Err((keys.span().start, "keys is empty; list at least one of p256, p384, ed25519, rsa3072".into()));
    }
    Ok(())
}

/// [X509-SVID §4.4](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#44-extended-key-usage):
/// > id-kp-serverAuth and id-kp-clientAuth MUST be set.
fn require_both_usages(usages: &Spanned<Vec<String>>) -> Result<(), (usize, String)> {
    let mut names: Vec<&str> = usages.get_ref().iter().map(String::as_str).collect();
    names.sort_unstable();
    if names == ["client", "server"] {
        return Ok(());
    }
    Err((usages.span().start, "extended_key_usage must be [\"server\", \"client\"]: an X509-SVID carries both or is none; the role comes from the identity's path".into()))
}

#[derive(Clone, Copy)]
struct Ttl(Duration);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a duration; write \"90s\", \"5m\", \"1h\" or \"1d\""))
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).map(Duration::from_secs)
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    let text = String::deserialize(deserializer)?;
    [Role::Agent, Role::Server, Role::Admin]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is no role; write agent, server or admin")))
}

fn fill(template: &str, identity: &SpiffeId) -> String {
    let name = identity.role().map_or("", |(_, name)| name);
    // Neither a trust domain nor a name can contain a brace, so the order of the two does not matter.
    template.replace(TRUST_DOMAIN, identity.trust_domain().as_str()).replace(NAME, name)
}

const TRUST_DOMAIN: &str = "{trust_domain}";
const NAME: &str = "{name}";
const MIN_TTL: Duration = Duration::from_secs(60);
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests;
