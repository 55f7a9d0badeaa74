//! Subjects: `CN=<name>,OU=agent|server|admin,O=<trust domain>`, injective and stable over renewals.
//!
//! Others (Keycloak's `client-x509`) may match it; we never read it.

use countermark_identity::{SpiffeId, TrustDomain};
use rcgen::{DistinguishedName, DnType};

/// Upper bound of CN, OU and O in characters ([RFC 5280 A.1](https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1)).
pub const MAX_ATTRIBUTE: usize = 64;

/// The subject of a leaf. Encoded O, OU, CN: RFC 4514 writes it the other way round.
pub(crate) fn leaf_subject(identity: &SpiffeId) -> Result<DistinguishedName, SubjectError> {
    let (role, name) = identity.role().ok_or(SubjectError::NoRole)?;
    let domain = identity.trust_domain();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, attribute("O", domain.as_str())?);
    subject.push(DnType::OrganizationalUnitName, role.as_str());
    subject.push(DnType::CommonName, attribute("CN", name)?);
    Ok(subject)
}

/// The subject of a CA: every CA key has its own, for CRLs are looked up by it.
pub(crate) fn ca_subject(domain: &TrustDomain, kind: &str, key_id: &str) -> Result<DistinguishedName, SubjectError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, attribute("O", domain.as_str())?);
    subject.push(DnType::CommonName, format!("Countermark {kind} {key_id}"));
    Ok(subject)
}

/// Why an identity has no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The identity is not an agent, a server or an admin.
    #[error("the identity has none of the paths /agent/<name>, /server/<name> and /admin/<name>")]
    NoRole,
    /// Longer than X.520 allows; cutting it would let two identities share a subject.
    #[error(
        "`{value}` has {length} characters, and {attribute} of a certificate's subject holds 64; choose a shorter name"
    )]
    TooLong {
        /// CN or O.
        attribute: &'static str,
        /// What was to be written.
        value: String,
        /// How long that is.
        length: usize,
    },
}

fn attribute(attribute: &'static str, value: &str) -> Result<String, SubjectError> {
    let length = value.chars().count();
    if length > MAX_ATTRIBUTE {
        return Err(SubjectError::TooLong { attribute, value: value.to_owned(), length });
    }
    Ok(value.to_owned())
}
