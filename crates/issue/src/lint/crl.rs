//! Revocation lists.

use x509_parser::{
    extensions::ParsedExtension, num_bigint::BigUint, prelude::FromDer, revocation_list::CertificateRevocationList,
    x509::X509Version,
};

use crate::{
    ca::CaFacts,
    crl::CrlPlan,
    der::is_signed,
    lint::{
        LintError,
        facts::{lint_extensions, unix},
    },
    signature,
};

/// Judges a CRL: its frame, its number, its times, its entries and its issuer's signature.
pub fn lint_crl(der: &[u8], issuer: &CaFacts, plan: &CrlPlan<'_>) -> Result<(), LintError> {
    let (rest, crl) = CertificateRevocationList::from_der(der).map_err(|_| LintError::Malformed)?;
    if !rest.is_empty() || !is_signed(der) {
        return Err(LintError::Malformed);
    }
    if crl.version() != Some(X509Version::V2) {
        return Err(LintError::Version);
    }
    if crl.issuer().as_raw() != issuer.subject {
        return Err(LintError::IssuerName);
    }
    lint_extensions(crl.extensions(), &CRL_EXTENSIONS)?;
    let names_key = crl.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0) == issuer.key_identifier.as_deref()
        }
        _ => false,
    });
    if !names_key {
        return Err(LintError::AuthorityKeyId);
    }
    lint_contents(&crl, plan)?;
    signature::verify(&issuer.public_key, &crl.signature_algorithm, crl.tbs_cert_list.as_ref(), &crl.signature_value)
        .map_err(|_| LintError::Signature)
}

fn lint_contents(crl: &CertificateRevocationList<'_>, plan: &CrlPlan<'_>) -> Result<(), LintError> {
    if crl.crl_number() != Some(&BigUint::from(plan.number)) {
        return Err(LintError::Crl("number"));
    }
    if unix(crl.last_update()) != Some(plan.this_update) {
        return Err(LintError::Crl("thisUpdate"));
    }
    if crl.next_update().and_then(unix) != Some(plan.next_update) {
        return Err(LintError::Crl("nextUpdate"));
    }
    let mut planned = plan.revoked.iter();
    for entry in crl.iter_revoked_certificates() {
        let same = planned.next().is_some_and(|revoked| strip(entry.raw_serial()) == revoked.serial.as_bytes());
        if !same {
            return Err(LintError::Crl("list of serials"));
        }
    }
    if planned.next().is_some() {
        return Err(LintError::Crl("list of serials"));
    }
    Ok(())
}

fn strip(serial: &[u8]) -> &[u8] {
    let start = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial.get(start..).unwrap_or_default()
}

/// cRLNumber, authorityKeyIdentifier.
const CRL_EXTENSIONS: [&str; 2] = ["2.5.29.20", "2.5.29.35"];
