//! The names of files and directories, in one place.

use countermark_identity::TrustDomain;

/// The link to the generation that counts.
pub const CURRENT: &str = "current";

/// Key, leaf and intermediates in one file.
pub const CREDENTIAL_BUNDLE: &str = "credential-bundle.pem";
/// The key alone.
pub const TLS_KEY: &str = "tls.key";
/// Leaf and intermediates alone.
pub const TLS_CRT: &str = "tls.crt";

pub(crate) const CA_CRT: &str = "ca.crt";
pub(crate) const GENERATIONS: &str = "generations";
pub(crate) const TRUST: &str = "trust";
pub(crate) const VERSIONS: &str = "versions";
pub(crate) const LOCK: &str = ".lock";
/// Held by the one process that keeps the directory fresh.
pub(crate) const CLAIM: &str = ".rotate.lock";
/// What Kubernetes calls its link to the directory that counts.
pub(crate) const KUBERNETES_DATA: &str = "..data";

const BUNDLE_SUFFIX: &str = ".trust-bundle.pem";
const CRL_SUFFIX: &str = ".crl.pem";

/// The file name of a trust domain's bundle.
#[must_use]
pub fn bundle_name(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}{BUNDLE_SUFFIX}")
}

/// The file name of a trust domain's revocation lists.
#[must_use]
pub fn crl_name(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}{CRL_SUFFIX}")
}

/// Whether a delivery writes a file of this name that holds key or chain; further forms beside them are not known here.
#[must_use]
pub fn is_of_credential(name: &str) -> bool {
    [CREDENTIAL_BUNDLE, TLS_KEY, TLS_CRT].contains(&name)
}

/// Whether a delivery writes a file of this name that holds roots or revocation lists.
#[must_use]
pub fn is_of_trust(name: &str) -> bool {
    let of_somebody = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|of| !of.is_empty());
    name == CA_CRT || [BUNDLE_SUFFIX, CRL_SUFFIX].iter().any(of_somebody)
}

/// Whose bundle a file name stands for; `Some(Err)` when what stands before the suffix is no trust domain.
pub(crate) fn bundle_domain(name: &str) -> Option<Result<TrustDomain, ()>> {
    Some(name.strip_suffix(BUNDLE_SUFFIX)?.parse().map_err(|_| ()))
}

/// Whose revocation lists a file name stands for.
pub(crate) fn crl_domain(name: &str) -> Option<Result<TrustDomain, ()>> {
    Some(name.strip_suffix(CRL_SUFFIX)?.parse().map_err(|_| ()))
}
