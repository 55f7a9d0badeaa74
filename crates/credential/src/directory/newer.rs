//! Which trust material is newer: what is delivered, or what is there.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::DomainCrls;
use super::trust::{Material, read_material};
use super::writer::Writer;
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::crl::Crl;

/// What is delivered, and in its place what is there where that is newer: two who deliver may have asked in another order.
///
/// The lock of the directory is held. A list that is there does not stay where the authority that it names has another key now.
pub(super) fn or_those_there(
    dir: &Path,
    bundles: &[Bundle],
    crls: &[DomainCrls],
    chain: &[CertificateDer<'_>],
) -> (Vec<Bundle>, Vec<DomainCrls>) {
    let (mut bundles, mut crls) = (bundles.to_vec(), crls.to_vec());
    // What cannot be read is not newer.
    let Ok(material) = read_material(dir) else { return (bundles, crls) };
    for bundle in &mut bundles {
        if let Some(there) = newer_bundle(&material, bundle) {
            *bundle = there;
        }
    }
    for DomainCrls { trust_domain, crls } in &mut crls {
        let there = material.crls.get(trust_domain).and_then(|file| file.crls().ok()).unwrap_or_default();
        let bundle = bundles.iter().find(|bundle| bundle.trust_domain() == trust_domain);
        let mut known: Vec<_> = bundle.map_or_else(Vec::new, |bundle| bundle.authorities().to_vec());
        let intermediates = chain.iter().skip(1).filter_map(|der| Authority::parse(der, trust_domain).ok());
        known.extend(intermediates.map(Arc::new));
        for crl in crls {
            let newer = |other: &&Arc<Crl>| other.issuer_der() == crl.issuer_der() && other.number() > crl.number();
            if let Some(there) = there.iter().find(newer).filter(|there| may_be_genuine(there, &known)) {
                *crl = Arc::clone(there);
            }
        }
    }
    (bundles, crls)
}

/// The bundle that is there, where it is newer: which of two it is cannot be told where one has no sequence, as one from a file that
/// somebody wrote.
fn newer_bundle(material: &Material, bundle: &Bundle) -> Option<Bundle> {
    let trust_domain = bundle.trust_domain();
    let there = material.bundles.get(trust_domain)?.bundle(trust_domain.clone()).ok()?;
    (there.sequence()? > bundle.sequence()?).then_some(there)
}

impl Writer {
    /// The bundle that is there already and stays, because this one is older.
    #[must_use]
    pub fn newer_than(&self, bundle: &Bundle) -> Option<Bundle> {
        newer_bundle(&read_material(&self.dir).ok()?, bundle)
    }
}

/// Whether no authority that is known has the name of this list's, or one of them has signed it.
fn may_be_genuine(crl: &Crl, known: &[Arc<Authority>]) -> bool {
    let mut named = known.iter().filter(|authority| authority.subject_der() == crl.issuer_der()).peekable();
    named.peek().is_none() || named.any(|authority| crl.verify(authority.spki_der()).is_ok())
}
