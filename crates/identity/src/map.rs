//! Names that are not ours, and which agent each stands for.

mod error;

use std::collections::HashMap;
use std::net::IpAddr;

pub use self::error::{IdentityError, MapError};
use crate::{AgentId, Identity, San, SpiffeId, TrustDomain};

/// Who a leaf says it is, and whose roots must vouch for it. Not verified.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a claim is these two, and proves nothing")]
pub struct Claim {
    /// Who.
    pub identity: Identity,
    /// The one trust domain under whose bundle the chain must verify.
    pub trust_domain: TrustDomain,
}

/// One line of a policy's `[map]`, as written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain input that callers build")]
pub struct MapEntry {
    /// `dns:…` (its first label may be `*`), `email:…`, `ip:…`, `uri:…` or `spiffe://…`.
    pub san: String,
    /// The name of the agent, in the own trust domain.
    pub agent: String,
    /// The trust domain under whose bundle such a leaf must verify; the own one if absent.
    pub bundle: Option<TrustDomain>,
}

/// Which subject alternative names stand for which agents. Fail-closed: no entry, or two that match, is nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SanMap {
    own: TrustDomain,
    exact: HashMap<San, Target>,
    /// By what follows the `*` (with its dot).
    wildcard: HashMap<String, Target>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Target {
    agent: AgentId,
    bundle: TrustDomain,
}

impl SanMap {
    /// A map without entries: only SPIFFE IDs of the form `/agent/…`, `/server/…`, `/admin/…` are anybody.
    #[must_use]
    pub fn empty(own: TrustDomain) -> Self {
        Self { own, exact: HashMap::new(), wildcard: HashMap::new() }
    }

    /// Compiles entries.
    ///
    /// # Errors
    /// [`MapError`] for the first entry that is refused.
    pub fn new(own: TrustDomain, entries: impl IntoIterator<Item = MapEntry>) -> Result<Self, MapError> {
        let mut map = Self::empty(own);
        for entry in entries {
            map.insert(entry)?;
        }
        Ok(map)
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// [`MapError`] if it is refused; the map is then as it was.
    pub fn insert(&mut self, entry: MapEntry) -> Result<(), MapError> {
        let san = parse_key(&entry.san)?;
        if entry.agent.contains('/') {
            return Err(MapError::SubAgent { agent: entry.agent });
        }
        let agent = AgentId::new(&self.own, &entry.agent).map_err(MapError::Agent)?;
        let bundle = entry.bundle.unwrap_or_else(|| self.own.clone());
        if let San::Uri(uri) = &san {
            self.require_mappable(uri, &bundle)?;
        }
        let target = Target { agent, bundle };
        let previous = match &san {
            San::Dns(name) if name.starts_with("*.") => {
                let suffix = name.trim_start_matches('*').to_owned();
                self.wildcard.contains_key(&suffix) || self.wildcard.insert(suffix, target).is_some()
            }
            _ => self.exact.contains_key(&san) || self.exact.insert(san, target).is_some(),
        };
        if previous { Err(MapError::Duplicate { san: entry.san }) } else { Ok(()) }
    }

    /// The trust domain whose agents the entries name.
    #[must_use]
    pub const fn own_trust_domain(&self) -> &TrustDomain {
        &self.own
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The agents that some entry names, each with the bundle that its leaf must verify under.
    pub fn targets(&self) -> impl Iterator<Item = (&AgentId, &TrustDomain)> {
        self.exact.values().chain(self.wildcard.values()).map(|target| (&target.agent, &target.bundle))
    }

    pub(crate) fn claim_spiffe_id(&self, id: &SpiffeId) -> Result<Claim, IdentityError> {
        if let Some(target) = self.exact.get(&San::Uri(id.as_str().to_owned())) {
            return Ok(target.claim());
        }
        let trust_domain = id.trust_domain().clone();
        match Identity::try_from(id.clone()) {
            Ok(identity) => Ok(Claim { identity, trust_domain }),
            Err(id) => Err(IdentityError::UnmappedPath { id }),
        }
    }

    pub(crate) fn claim_sans(&self, sans: &[San]) -> Result<Claim, IdentityError> {
        let mut distinct: Vec<&San> = sans.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        // One entry that matches two names of the leaf (its wildcard does) is still one.
        let mut entries: Vec<&Target> = Vec::new();
        for entry in distinct.into_iter().flat_map(|san| self.matches(san)) {
            if !entries.iter().any(|known| std::ptr::eq(*known, entry)) {
                entries.push(entry);
            }
        }
        match entries.as_slice() {
            [] => Err(IdentityError::Unmapped { sans: sans.to_vec() }),
            [entry] => Ok(entry.claim()),
            several => Err(IdentityError::Ambiguous { sans: sans.to_vec(), entries: several.len() }),
        }
    }

    /// The entries that match one name: the exact one, and the one with a wildcard for its first label.
    fn matches(&self, san: &San) -> impl Iterator<Item = &Target> {
        let wildcard = match san {
            // Exactly one label stands for the star; a name that itself has a star in it stands for nobody.
            San::Dns(name) if !name.starts_with('*') => {
                name.find('.').and_then(|dot| name.get(dot..)).and_then(|suffix| self.wildcard.get(suffix))
            }
            _ => None,
        };
        self.exact.get(san).into_iter().chain(wildcard)
    }

    fn require_mappable(&self, uri: &str, bundle: &TrustDomain) -> Result<(), MapError> {
        let Some(id) = parse_spiffe(uri)? else {
            return Ok(());
        };
        if id.trust_domain() != bundle {
            return Err(MapError::Bundle { bundle: bundle.clone(), id });
        }
        // Whatever stands below our words, well-formed or not, is ours to give and not to be given a second meaning.
        let first = id.path().split('/').nth(1).unwrap_or_default();
        if id.trust_domain() == &self.own && matches!(first, "admin" | "agent" | "server") {
            return Err(MapError::OwnIdentity { id });
        }
        Ok(())
    }
}

impl Target {
    fn claim(&self) -> Claim {
        Claim { identity: Identity::Agent(self.agent.clone()), trust_domain: self.bundle.clone() }
    }
}

/// The name on the left side of an entry.
fn parse_key(key: &str) -> Result<San, MapError> {
    let refuse = |cause| MapError::San { san: key.to_owned(), cause };
    let san = match key.split_once(':') {
        Some(("dns", name)) => San::dns(name).map_err(refuse)?,
        Some(("email", address)) => San::email(address).map_err(refuse)?,
        Some(("uri", uri)) => San::uri(uri).map_err(refuse)?,
        Some(("ip", address)) => San::Ip(address.parse::<IpAddr>().map_err(|_| MapError::Ip { san: key.to_owned() })?),
        Some(("spiffe", _)) => San::uri(key).map_err(refuse)?,
        _ => return Err(MapError::Kind { san: key.to_owned() }),
    };
    let star_elsewhere = match &san {
        San::Dns(_) => false,
        other => other.to_string().contains('*'),
    };
    if star_elsewhere { Err(MapError::Wildcard { san: key.to_owned() }) } else { Ok(san) }
}

/// The SPIFFE ID that a URI is, if it claims to be one.
fn parse_spiffe(uri: &str) -> Result<Option<SpiffeId>, MapError> {
    let claims = uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"));
    if claims { uri.parse().map(Some).map_err(MapError::SpiffeId) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
