//! Whom a process believes: the roots and revocation lists of each trust domain, and the one verification of a chain.

mod error;
mod judge;
mod memo;
mod revocation;
pub(crate) mod signature;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use countermark_identity::{Leaf, TrustDomain, UnixTime, Usage};
use rustls_pki_types::CertificateDer;

pub use self::error::{ChainError, Link, RevocationError, TrustError};
pub(crate) use self::memo::Memo;
pub use self::signature::{SignatureError, verify_certificate};
use self::verify::Domain;
pub use self::verify::VerifiedChain;
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::crl::Crl;

/// The trust of a process at one moment: immutable, one root store for each trust domain, never pooled.
///
/// A new bundle or CRL makes a new `Trust`; [`Trust::succeed`] makes it keep the memory of the signatures that were found good.
pub struct Trust {
    domains: HashMap<TrustDomain, Domain>,
    memo: Arc<Memo>,
}

impl Trust {
    /// Believes these trust domains, each under its own roots.
    pub fn new(domains: Vec<DomainTrust>) -> Result<Self, TrustError> {
        Self::with_memo(domains, Arc::new(Memo::default()))
    }

    /// Believes nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self { domains: HashMap::new(), memo: Arc::new(Memo::default()) }
    }

    /// What follows this trust: other bundles and CRLs, the same memory of good signatures.
    ///
    /// The lists of the intermediates that this trust has met are found and verified here, so that no handshake waits for it.
    pub fn succeed(&self, domains: Vec<DomainTrust>) -> Result<Self, TrustError> {
        let next = Self::with_memo(domains, Arc::clone(&self.memo))?;
        for (trust_domain, domain) in &next.domains {
            if let Some(before) = self.domains.get(trust_domain) {
                domain.inherit(before);
            }
        }
        Ok(next)
    }

    /// Completes a chain of `trust_domain` that is a leaf alone by these intermediates, which whoever issued the leaf knows.
    ///
    /// They are judged as if they had been presented. A chain that brings intermediates is judged by its own.
    #[must_use]
    pub fn completing(mut self, trust_domain: &TrustDomain, intermediates: Vec<CertificateDer<'static>>) -> Self {
        if let Some(domain) = self.domains.get_mut(trust_domain) {
            domain.complete_by(intermediates);
        }
        self
    }

    /// What completes a leaf of this trust domain that comes alone.
    pub fn completed_by(&self, trust_domain: &TrustDomain) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.domains.get(trust_domain).into_iter().flat_map(Domain::completed_by)
    }

    /// The trust domains that have roots here.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.domains.keys()
    }

    /// The revocation lists of a trust domain.
    #[must_use]
    pub fn crls(&self, trust_domain: &TrustDomain) -> &[Arc<Crl>] {
        self.domains.get(trust_domain).map_or(&[], Domain::crls)
    }

    /// The intermediates of a trust domain that stood in a verified path.
    pub(crate) fn met(&self, trust_domain: &TrustDomain) -> Vec<Arc<Authority>> {
        self.domains.get(trust_domain).map_or_else(Vec::new, Domain::met)
    }

    /// The roots of a trust domain.
    #[must_use]
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.domains.get(trust_domain).map(Domain::bundle)
    }

    /// Verifies that `chain` (leaf first) leads to a root of `trust_domain`, for `usage`, at `now`, and that nothing on the way is revoked.
    ///
    /// `leaf` must be the parsed `chain[0]`, and `trust_domain` the one that its
    /// [claim](countermark_identity::Leaf::claim) chose: a chain is never tried against the roots of another.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        leaf: &Leaf,
        trust_domain: &TrustDomain,
        usage: Usage,
        now: UnixTime,
    ) -> Result<VerifiedChain, ChainError> {
        let Some(domain) = self.domains.get(trust_domain) else {
            return Err(ChainError::UnknownTrustDomain { trust_domain: trust_domain.clone() });
        };
        domain.verify(chain, leaf, usage, now, &self.memo)
    }

    /// How many authorities of a trust domain have their revocation list found and its signature verified.
    #[cfg(test)]
    pub(crate) fn warm(&self, trust_domain: &TrustDomain) -> usize {
        self.domains.get(trust_domain).map_or(0, Domain::warm)
    }

    fn with_memo(domains: Vec<DomainTrust>, memo: Arc<Memo>) -> Result<Self, TrustError> {
        let mut stores = HashMap::with_capacity(domains.len());
        for domain in domains {
            let trust_domain = domain.bundle.trust_domain().clone();
            let store = Domain::new(domain)?;
            if stores.insert(trust_domain.clone(), store).is_some() {
                return Err(TrustError::Repeated { trust_domain });
            }
        }
        Ok(Self { domains: stores, memo })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trust_domains", &self.domains.keys()).finish_non_exhaustive()
    }
}

/// What there is to believe about one trust domain.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "users build it, and a new part of trust must be a decision of theirs")]
pub struct DomainTrust {
    /// Its roots.
    pub bundle: Bundle,
    /// Its revocation lists, one for each CA key that signs certificates.
    pub crls: Vec<Arc<Crl>>,
    /// Whether a chain without a good revocation list is denied.
    pub revocation: Revocation,
}

/// What a missing, broken or stale revocation list means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "mirrors the policy file, whose two words are all there are")]
pub enum Revocation {
    /// Denied.
    #[default]
    Required,
    /// Revocation is not looked at: whoever was revoked is believed until the certificate expires.
    DangerNone,
}

#[cfg(test)]
mod tests;
