//! The trust material of an identity directory, as the one verifier takes it.

use countermark_credential::{Credential, DomainTrust, Revocation, Trust, TrustError, directory::LoadedTrust};
use countermark_identity::{Leaf, SanMap, TrustDomain, UnixTime, Usage};
use rustls::pki_types::CertificateDer;

/// Every trust domain with its bundle and its CRLs; revocation is required.
pub(crate) fn trust(material: &LoadedTrust) -> Result<Trust, TrustError> {
    let domains = material.bundles.iter().map(|bundle| DomainTrust {
        bundle: bundle.clone(),
        crls: material
            .crls
            .iter()
            .filter(|domain| domain.trust_domain == *bundle.trust_domain())
            .flat_map(|domain| domain.crls.iter().cloned())
            .collect(),
        revocation: Revocation::Required,
    });
    Trust::new(domains.collect())
}

/// Whether a chain verifies for `usage` at `now`, in the words of the verifier.
pub(crate) fn verify(
    trust: &Trust,
    own: &TrustDomain,
    chain: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Leaf, String> {
    let leaf = Leaf::parse(chain.first().map_or(&[][..], |leaf| leaf.as_ref())).map_err(|error| error.to_string())?;
    leaf.permits(usage).map_err(|error| error.to_string())?;
    let claim = leaf.claim(&SanMap::empty(own.clone())).map_err(|error| error.to_string())?;
    trust.verify(chain, &leaf, &claim.trust_domain, usage, now).map_err(|error| error.to_string())?;
    Ok(leaf)
}

/// The trust domain of a credential, by its SPIFFE ID.
pub(crate) fn own_domain(credential: &Credential) -> Option<TrustDomain> {
    credential.spiffe_id().map(|id| id.trust_domain().clone())
}
