//! Leaves.

use countermark_identity::{Leaf, SpiffeId, UnixTime, Usage};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use crate::{
    ca::{CaFacts, LEAF_SHARE},
    lint::{
        LintError,
        facts::{lint_extensions, lint_frame, lint_times, read},
    },
    public_key::PublicKey,
};

/// What was decided about a leaf before it was signed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct Expected<'a> {
    /// Who it speaks for.
    pub identity: &'a SpiffeId,
    /// The key that was presented.
    pub public_key: &'a PublicKey,
    /// When it was issued; life counts from here.
    pub issued_at: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

/// Judges a leaf: the SVID rules, its frame, its times, its key and its issuer's signature.
pub fn lint_leaf(der: &[u8], issuer: &CaFacts, expected: &Expected<'_>) -> Result<(), LintError> {
    let certificate = read(der)?;
    lint_extensions(certificate.extensions(), &LEAF_EXTENSIONS)?;
    lint_svid(der, expected.identity)?;
    lint_usages(&certificate)?;
    lint_names(&certificate, expected.identity)?;
    if certificate.public_key().raw != expected.public_key.spki_der() {
        return Err(LintError::PublicKey);
    }
    let (not_before, not_after) = lint_times(&certificate, issuer, expected.issued_at)?;
    if not_after != expected.not_after {
        return Err(LintError::Validity { not_before, not_after });
    }
    lint_share(issuer, expected.issued_at, not_after)?;
    lint_frame(&certificate, issuer)
}

/// By the same reader that acceptors use.
fn lint_svid(der: &[u8], identity: &SpiffeId) -> Result<(), LintError> {
    let leaf = Leaf::parse(der).map_err(LintError::Svid)?;
    leaf.permits(Usage::Client).map_err(LintError::Svid)?;
    leaf.permits(Usage::Server).map_err(LintError::Svid)?;
    if leaf.spiffe_id() != Some(identity) {
        return Err(LintError::Identity);
    }
    Ok(())
}

/// [X509-SVID §4](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#4-constraints-and-usage)
fn lint_usages(certificate: &X509Certificate<'_>) -> Result<(), LintError> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.critical && !constraints.value.ca => {}
        _ => return Err(LintError::BasicConstraints),
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if usage.critical && usage.value.flags == DIGITAL_SIGNATURE => {}
        _ => return Err(LintError::KeyUsage),
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => {
            let usage = usage.value;
            let others = usage.any
                || usage.code_signing
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
                || !usage.other.is_empty();
            if usage.server_auth && usage.client_auth && !others { Ok(()) } else { Err(LintError::ExtendedKeyUsage) }
        }
        _ => Err(LintError::ExtendedKeyUsage),
    }
}

/// One URI, which is the identity; beside it DNS names and addresses alone.
fn lint_names(certificate: &X509Certificate<'_>, identity: &SpiffeId) -> Result<(), LintError> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Err(LintError::Identity);
    };
    let mut uris = 0;
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) if *uri == identity.as_str() => uris += 1,
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) => {}
            _ => return Err(LintError::Identity),
        }
    }
    if uris == 1 { Ok(()) } else { Err(LintError::Identity) }
}

fn lint_share(issuer: &CaFacts, issued_at: UnixTime, not_after: UnixTime) -> Result<(), LintError> {
    let life = not_after.duration_since(issued_at).as_secs();
    let issuer_life = issuer.not_after.duration_since(issuer.not_before).as_secs();
    if life > issuer_life / u64::from(LEAF_SHARE) {
        return Err(LintError::Share { life, issuer_life });
    }
    Ok(())
}

/// Bit 0 of keyUsage, as x509-parser numbers them.
const DIGITAL_SIGNATURE: u16 = 1;

/// basicConstraints, keyUsage, extendedKeyUsage, subjectAltName, authorityKeyIdentifier, subjectKeyIdentifier.
const LEAF_EXTENSIONS: [&str; 6] = ["2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.35", "2.5.29.14"];
