//! A profile as it is written, and what is refused in it.

use std::time::Duration;

use countermark_identity::Role;
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::key::KeyType;
use crate::profile::{NAME, Profile, RequestableName, SanTemplate, TRUST_DOMAIN, is_dns_name};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
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
    pub(super) fn into_profile(self) -> Result<Profile, (usize, String)> {
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
                "min_ttl is below 30s; certificates that short cannot be renewed in time".into(),
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

/// Renewed at half of it and tried again every second, it leaves a quarter of a minute to an authority that is down.
const MIN_TTL: Duration = Duration::from_secs(30);
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
