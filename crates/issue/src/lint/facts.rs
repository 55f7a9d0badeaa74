//! What the judges of leaves, CAs and CRLs share.

use countermark_identity::UnixTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{ParsedExtension, X509Extension},
    oid_registry::Oid,
    prelude::FromDer,
    time::ASN1Time,
    x509::{X509Name, X509Version},
};

use crate::{
    ca::{BACKDATE, CaFacts},
    der::is_signed,
    lint::LintError,
    signature,
    subject::MAX_ATTRIBUTE,
};

pub(super) fn read(der: &[u8]) -> Result<X509Certificate<'_>, LintError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LintError::Malformed)?;
    if !rest.is_empty() || !is_signed(der) {
        return Err(LintError::Malformed);
    }
    Ok(certificate)
}

/// Beginning and end; `None` before 1970.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Option<(UnixTime, UnixTime)> {
    let validity = certificate.validity();
    Some((unix(validity.not_before)?, unix(validity.not_after)?))
}

pub(super) fn unix(time: ASN1Time) -> Option<UnixTime> {
    u64::try_from(time.timestamp()).ok().map(UnixTime::from_secs)
}

/// Version, algorithms, serial, names, key identifiers and signature: the same for leaves and CAs.
pub(super) fn lint_frame(certificate: &X509Certificate<'_>, issuer: &CaFacts) -> Result<(), LintError> {
    if certificate.version() != X509Version::V3 {
        return Err(LintError::Version);
    }
    if certificate.signature_algorithm != certificate.tbs_certificate.signature {
        return Err(LintError::AlgorithmsDiffer);
    }
    lint_serial(certificate.raw_serial())?;
    if certificate.issuer().as_raw() != issuer.subject {
        return Err(LintError::IssuerName);
    }
    subject_key_id(certificate).ok_or(LintError::SubjectKeyId)?;
    let self_signed = certificate.subject().as_raw() == issuer.subject;
    match authority_key_id(certificate) {
        Some(id) if Some(id) == issuer.key_identifier.as_deref() => {}
        None if self_signed => {}
        _ => return Err(LintError::AuthorityKeyId),
    }
    lint_subject(certificate.subject())?;
    signature::verify(
        &issuer.public_key,
        &certificate.signature_algorithm,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value,
    )
    .map_err(|_| LintError::Signature)
}

/// Backdate at most 60 s and half the life, nothing beyond the issuer.
pub(super) fn lint_times(
    certificate: &X509Certificate<'_>,
    issuer: &CaFacts,
    issued_at: UnixTime,
) -> Result<(UnixTime, UnixTime), LintError> {
    let (not_before, not_after) = validity(certificate).ok_or(LintError::Malformed)?;
    if not_after <= issued_at || not_after <= not_before {
        return Err(LintError::Validity { not_before, not_after });
    }
    let backdate = BACKDATE.min(not_after.duration_since(issued_at) / 2);
    if not_before > issued_at || issued_at.duration_since(not_before) > backdate {
        return Err(LintError::Backdate { not_before, issued_at });
    }
    if not_before < issuer.not_before || not_after > issuer.not_after {
        return Err(LintError::BeyondIssuer { issuer_ends: issuer.not_after });
    }
    Ok((not_before, not_after))
}

/// Only the extensions of `known` (by dotted OID), each at most once.
pub(super) fn lint_extensions(extensions: &[X509Extension<'_>], known: &[&str]) -> Result<(), LintError> {
    let mut seen: Vec<&Oid<'_>> = Vec::with_capacity(extensions.len());
    for extension in extensions {
        let id = extension.oid.to_id_string();
        if !known.contains(&id.as_str()) || seen.contains(&&extension.oid) {
            return Err(LintError::Extension(id));
        }
        seen.push(&extension.oid);
    }
    Ok(())
}

pub(super) fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

fn authority_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

fn lint_serial(raw: &[u8]) -> Result<(), LintError> {
    let negative = raw.first().is_none_or(|first| first & 0x80 != 0);
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len());
    let digits = raw.get(start..).unwrap_or_default();
    let leading = digits.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = if negative { 0 } else { digits.len() * 8 - leading };
    if bits < 64 || raw.len() > 20 {
        return Err(LintError::Serial { bits });
    }
    Ok(())
}

/// One attribute of a type, one attribute in each RDN, at most 64 characters.
fn lint_subject(subject: &X509Name<'_>) -> Result<(), LintError> {
    let mut seen = Vec::new();
    for rdn in subject.iter() {
        let mut attributes = rdn.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err(LintError::Subject);
        };
        let value = attribute.as_str().map_err(|_| LintError::Subject)?;
        let id = attribute.attr_type().to_id_string();
        let known = ["2.5.4.3", "2.5.4.10", "2.5.4.11"].contains(&id.as_str());
        if !known || seen.contains(&id) || value.is_empty() || value.chars().count() > MAX_ATTRIBUTE {
            return Err(LintError::Subject);
        }
        seen.push(id);
    }
    if seen.is_empty() { Err(LintError::Subject) } else { Ok(()) }
}
