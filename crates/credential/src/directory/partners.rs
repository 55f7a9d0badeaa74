//! The trust material of other trust domains, with what is broken in it left as it last was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countermark_identity::TrustDomain;

use super::DomainCrls;
use super::error::{DeliveryError, LoadError};
use super::names::{TRUST, VERSIONS, bundle_name, crl_name};
use super::trust::{LoadedTrust, RawFile, Whose, read_material, was_never_there};
use crate::bundle::Bundle;

/// The trust material of partners, as far as it is good or was.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Partners {
    /// What is good, and what was good before somebody broke it.
    pub trust: LoadedTrust,
    /// What is wrong with the rest, a line each.
    pub faults: Vec<String>,
}

/// Loads the trust material of every trust domain but `own`. A file that is broken is taken from the version before it.
///
/// Whose roots vouched for the credential until now is nobody's partner: where that is another than `own`, nobody has asked for it to stay.
///
/// # Errors
/// The directory cannot be read, or the link to what counts in it is missing: nobody is withdrawn for that.
pub fn salvage_partners(dir: &Path, own: &TrustDomain) -> Result<Partners, LoadError> {
    let material = match read_material(dir) {
        Err(LoadError::TrustGone { .. }) => return Ok(Partners::default()),
        Err(LoadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && was_never_there(dir) => {
            return Ok(Partners::default());
        }
        material => material?,
    };
    let mut partners = Partners::default();
    let until_now = material.own;
    let stays = |trust_domain: &TrustDomain| trust_domain != own && Some(trust_domain) != until_now.as_ref();
    for (trust_domain, file) in material.bundles.into_iter().filter(|(trust_domain, _)| stays(trust_domain)) {
        let bundle = file.bundle(trust_domain.clone());
        partners.bundle(dir, &trust_domain, bundle);
    }
    for (trust_domain, file) in material.crls.into_iter().filter(|(trust_domain, _)| stays(trust_domain)) {
        let crls = file.crls().map(|crls| DomainCrls { trust_domain: trust_domain.clone(), crls });
        partners.crls(dir, &trust_domain, crls);
    }
    for broken in material.broken {
        match broken.whose {
            Whose::Bundle(trust_domain) if stays(&trust_domain) => {
                partners.bundle(dir, &trust_domain, Err(broken.error));
            }
            Whose::Crls(trust_domain) if stays(&trust_domain) => partners.crls(dir, &trust_domain, Err(broken.error)),
            Whose::Bundle(_) | Whose::Crls(_) => {}
            Whose::Nobody => partners.faults.push(broken.error.to_string()),
        }
    }
    Ok(partners)
}

/// What is delivered of `own`, and what is there of every other trust domain.
///
/// The lock of the directory is held: whoever withdrew a partner while somebody was asked for `own` has withdrawn it.
pub(super) fn beside(
    dir: &Path,
    own: &TrustDomain,
    bundles: &[Bundle],
    crls: &[DomainCrls],
) -> Result<(Vec<Bundle>, Vec<DomainCrls>), DeliveryError> {
    let salvaged = salvage_partners(dir, own).map_err(|source| DeliveryError::Partners { source: Box::new(source) });
    let Partners { trust, faults } = salvaged?;
    for fault in faults {
        tracing::warn!(dir = %dir.display(), %fault, "the trust material of a partner is broken");
    }
    let LoadedTrust { bundles: mut everybody, crls: mut lists } = trust;
    everybody.extend(bundles.iter().filter(|bundle| bundle.trust_domain() == own).cloned());
    lists.extend(crls.iter().filter(|domain| domain.trust_domain == *own).cloned());
    Ok((everybody, lists))
}

impl Partners {
    fn bundle(&mut self, dir: &Path, trust_domain: &TrustDomain, found: Result<Bundle, LoadError>) {
        let name = bundle_name(trust_domain);
        let before = |path: &Path| RawFile::read_bundle(path).ok()?.bundle(trust_domain.clone()).ok();
        self.trust.bundles.extend(or_before(found, dir, &name, before, &mut self.faults));
    }

    fn crls(&mut self, dir: &Path, trust_domain: &TrustDomain, found: Result<DomainCrls, LoadError>) {
        let name = crl_name(trust_domain);
        let before = |path: &Path| {
            let crls = RawFile::read_crls(path).ok()?.crls().ok()?;
            Some(DomainCrls { trust_domain: trust_domain.clone(), crls })
        };
        self.trust.crls.extend(or_before(found, dir, &name, before, &mut self.faults));
    }
}

/// What was found, or the newest of it in an earlier version.
fn or_before<T>(
    found: Result<T, LoadError>,
    dir: &Path,
    name: &str,
    read: impl Fn(&Path) -> Option<T>,
    faults: &mut Vec<String>,
) -> Option<T> {
    let error = match found {
        Ok(found) => return Some(found),
        Err(error) => error,
    };
    let before = versions(dir).into_iter().find_map(|version| read(&version.join(name)));
    let what = if before.is_some() { "the one before it is kept" } else { "there is none before it" };
    faults.push(format!("{error}; {what}"));
    before
}

/// The versions of the trust material, the newest first.
fn versions(dir: &Path) -> Vec<PathBuf> {
    let base = dir.join(TRUST).join(VERSIONS);
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u64>().ok();
    let mut numbers: Vec<u64> = fs::read_dir(&base).into_iter().flatten().flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().map(|number| base.join(number.to_string())).collect()
}
