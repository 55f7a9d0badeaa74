//! Roots and intermediates.

use countermark_identity::{TrustDomain, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use crate::{
    ca::CaFacts,
    lint::{
        LintError,
        facts::{lint_extensions, lint_frame, lint_times, read},
    },
};

/// Judges a CA certificate; a root is its own issuer.
pub fn lint_ca(der: &[u8], issuer: &CaFacts, domain: &TrustDomain, issued_at: UnixTime) -> Result<(), LintError> {
    let certificate = read(der)?;
    // No name constraints among them: webpki refuses every leaf below a CA that constrains URIs.
    lint_extensions(certificate.extensions(), &CA_EXTENSIONS)?;
    lint_constraints(&certificate, issuer)?;
    match certificate.key_usage() {
        Ok(Some(usage)) if usage.critical && usage.value.flags == CERT_SIGN | CRL_SIGN => {}
        _ => return Err(LintError::KeyUsage),
    }
    lint_identity(&certificate, domain)?;
    lint_times(&certificate, issuer, issued_at)?;
    lint_frame(&certificate, issuer)
}

/// Whether a certificate may sign certificates and CRLs.
pub(crate) fn is_ca(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    constraints.is_some_and(|constraints| constraints.value.ca)
        && usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign())
}

/// A root allows one CA below it, an intermediate none.
fn lint_constraints(certificate: &X509Certificate<'_>, issuer: &CaFacts) -> Result<(), LintError> {
    let root = certificate.public_key().raw == issuer.public_key.spki_der();
    let depth = if root { 1 } else { 0 };
    match certificate.basic_constraints() {
        Ok(Some(found)) if found.critical && found.value.ca && found.value.path_len_constraint == Some(depth) => Ok(()),
        _ => Err(LintError::BasicConstraints),
    }
}

/// [X509-SVID §3.2](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#32-signing-certificates):
/// the trust domain's own SPIFFE ID, without a path, and no other name.
fn lint_identity(certificate: &X509Certificate<'_>, domain: &TrustDomain) -> Result<(), LintError> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Err(LintError::Identity);
    };
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] if uri.strip_prefix("spiffe://") == Some(domain.as_str()) => Ok(()),
        _ => Err(LintError::Identity),
    }
}

/// Bits 5 and 6 of keyUsage, as x509-parser numbers them.
const CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;

/// basicConstraints, keyUsage, subjectAltName, authorityKeyIdentifier, subjectKeyIdentifier.
const CA_EXTENSIONS: [&str; 5] = ["2.5.29.19", "2.5.29.15", "2.5.29.17", "2.5.29.35", "2.5.29.14"];
