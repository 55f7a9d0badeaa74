//! By what a credential is named: `identity`, or `trust-domain` with names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use countermark_identity::{Role, San, SanError, SpiffeId};
use toml::Spanned;

use super::Located;
use super::value::value;
use crate::config::document::Credential;
use crate::config::{Fault, IssuerEntry, IssuerKind};
use crate::name::Name;

/// What a credential is named by, and the names that a local authority is to set beside its identity.
pub(super) struct Naming {
    pub(super) identity: Name,
    pub(super) dns: Vec<String>,
    pub(super) ip: Vec<IpAddr>,
}

impl Naming {
    pub(super) fn of(written: &Credential, issuer: &IssuerEntry) -> Located<Self> {
        match (&written.identity, &written.trust_domain) {
            (Some(_), Some(trust_domain)) => Err((trust_domain.span(), Fault::TwoNames)),
            (Some(identity), None) => Self::spiffe(identity, written, issuer),
            (None, Some(trust_domain)) => {
                let identity = sans(trust_domain, written, issuer)?;
                Ok(Self { identity, dns: Vec::new(), ip: Vec::new() })
            }
            (None, None) => Err((written.name.span(), Fault::NoIdentity)),
        }
    }

    fn spiffe(identity: &Spanned<String>, written: &Credential, issuer: &IssuerEntry) -> Located<Self> {
        if let Some(other) = written.email.first().or_else(|| written.uri.first()) {
            return Err((other.span(), Fault::Beside));
        }
        if !matches!(issuer.kind, IssuerKind::Directory { .. }) {
            let dns = written.dns.first().map(|dns| (dns.span(), "dns"));
            let ip = written.ip.first().map(|ip| (ip.span(), "ip"));
            if let Some((span, key)) = dns.or(ip) {
                return Err((span, Fault::Meaningless { key }));
            }
        }
        Ok(Self {
            identity: Name::Spiffe(spiffe_id(identity)?),
            dns: written.dns.iter().map(|dns| dns.get_ref().clone()).collect(),
            ip: written.ip.iter().map(address).collect::<Result<_, _>>()?,
        })
    }
}

fn spiffe_id(written: &Spanned<String>) -> Located<SpiffeId> {
    let text = written.get_ref();
    let id: SpiffeId =
        text.parse().map_err(|source| (written.span(), Fault::Identity { text: text.clone(), source }))?;
    match id.role() {
        Some((Role::Agent | Role::Server, _)) => Ok(id),
        _ => Err((written.span(), Fault::Role { text: text.clone() })),
    }
}

fn sans(trust_domain: &Spanned<String>, written: &Credential, issuer: &IssuerEntry) -> Located<Name> {
    if !matches!(issuer.kind, IssuerKind::Est { .. }) {
        return Err((trust_domain.span(), Fault::OnlySvids));
    }
    let text = trust_domain.get_ref();
    let own =
        text.parse().map_err(|source| (trust_domain.span(), Fault::TrustDomain { text: text.clone(), source }))?;
    if let Some(second) = written.uri.get(1) {
        return Err((second.span(), Fault::TwoUris));
    }
    let dns = written.dns.iter().map(|dns| san(dns, San::dns));
    let email = written.email.iter().map(|email| san(email, San::email));
    let ip = written.ip.iter().map(|ip| Ok((ip.span(), San::Ip(address(ip)?))));
    let uri = written.uri.iter().map(uri);
    let mut sans = BTreeSet::new();
    for name in dns.chain(email).chain(ip).chain(uri) {
        let (span, name) = name?;
        let value = name.to_string();
        if !sans.insert(name) {
            return Err((span, Fault::Duplicate { what: "the name", value }));
        }
    }
    if sans.is_empty() {
        return Err((trust_domain.span(), Fault::Nameless));
    }
    Ok(Name::Sans { trust_domain: own, sans })
}

fn san(written: &Spanned<String>, parse: fn(&str) -> Result<San, SanError>) -> Located<(Range<usize>, San)> {
    let text = written.get_ref();
    let refused = |source| (written.span(), Fault::San { text: text.clone(), source });
    Ok((written.span(), parse(text).map_err(refused)?))
}

fn uri(written: &Spanned<String>) -> Located<(Range<usize>, San)> {
    let scheme = written.get_ref().split_once(':').map_or("", |(scheme, _)| scheme);
    if scheme.eq_ignore_ascii_case("spiffe") {
        return Err((written.span(), Fault::SpiffeUri { text: written.get_ref().clone() }));
    }
    san(written, San::uri)
}

fn address(written: &Spanned<String>) -> Located<IpAddr> {
    value(written, "address", "10.0.0.1", |text| text.parse().ok())
}
