//! What is asked for, and what is decided before anything is signed.

use std::{net::IpAddr, time::Duration};

use countermark_identity::{Role, Serial, SpiffeId, UnixTime};
use rcgen::{DistinguishedName, SanType};

use crate::lint::Expected;
use crate::profile::{Profile, RequestableName, is_dns_name};
use crate::public_key::PublicKey;
use crate::signer::SignError;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct LeafRequest<'a> {
    /// Who the certificate will speak for.
    pub identity: &'a SpiffeId,
    /// The key that will be certified.
    pub public_key: &'a PublicKey,
    /// How long it will live; the profile's default where absent.
    pub ttl: Option<Duration>,
    /// DNS names beside those of the profile.
    pub dns: &'a [String],
    /// IP addresses.
    pub ip: &'a [IpAddr],
}

/// A leaf of which everything is decided but the signature.
#[derive(Clone, Debug)]
pub struct LeafPlan {
    pub(super) serial: Serial,
    pub(super) identity: SpiffeId,
    pub(super) subject: DistinguishedName,
    pub(super) names: Vec<SanType>,
    pub(super) public_key: PublicKey,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    pub(super) issued_at: UnixTime,
}

impl LeafPlan {
    /// The serial that it will have.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Who it will speak for.
    #[must_use]
    pub const fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// When it will begin.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When it will end.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// When it was decided; life counts from here.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The key that it will certify.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    pub(super) fn expected(&self) -> Expected<'_> {
        Expected {
            identity: &self.identity,
            public_key: &self.public_key,
            issued_at: self.issued_at,
            not_after: self.not_after,
        }
    }
}

pub(super) fn is_sub_agent(role: Role, name: &str) -> bool {
    role == Role::Agent && name.contains("/sub/")
}

pub(super) fn ttl(profile: &Profile, asked: Option<Duration>, sub_agent: bool) -> Result<Duration, SignError> {
    let most = if sub_agent { SUB_AGENT.min(profile.max_ttl()) } else { profile.max_ttl() };
    // Whole seconds, as X.509 writes them.
    let ttl = asked.map_or_else(|| profile.default_ttl().min(most), |asked| Duration::from_secs(asked.as_secs()));
    if ttl < profile.min_ttl() {
        return Err(SignError::TooShort { asked: ttl, least: profile.min_ttl() });
    }
    if ttl > most {
        return Err(SignError::TooLong { asked: ttl, most });
    }
    Ok(ttl)
}

pub(super) fn names(profile: &Profile, request: &LeafRequest<'_>) -> Result<Vec<SanType>, SignError> {
    let template = profile.san();
    let uri = template.uri(request.identity);
    if uri != request.identity.as_str() {
        return Err(SignError::Template { uri, identity: request.identity.clone() });
    }
    if !request.dns.is_empty() && !template.permits(RequestableName::Dns) {
        return Err(SignError::NameKind(RequestableName::Dns));
    }
    if !request.ip.is_empty() && !template.permits(RequestableName::Ip) {
        return Err(SignError::NameKind(RequestableName::Ip));
    }
    let asked = request.dns.len() + request.ip.len();
    if asked > MAX_NAMES {
        return Err(SignError::TooManyNames(asked));
    }
    let mut names = vec![SanType::URI(uri.try_into().map_err(|_| SignError::Signing)?)];
    for name in template.dns(request.identity).chain(request.dns.iter().cloned()) {
        if !is_dns_name(&name) {
            return Err(SignError::DnsName(name));
        }
        let name = SanType::DnsName(name.try_into().map_err(|_| SignError::Signing)?);
        push_once(&mut names, name);
    }
    for address in request.ip {
        push_once(&mut names, SanType::IpAddress(*address));
    }
    Ok(names)
}

fn push_once(names: &mut Vec<SanType>, name: SanType) {
    if !names.contains(&name) {
        names.push(name);
    }
}

pub(super) const SUB_AGENT: Duration = Duration::from_secs(15 * 60);
const MAX_NAMES: usize = 100;
