//! Certificate revocation lists.

use std::{fmt, str::FromStr};

use countermark_identity::{Serial, UnixTime};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason as Reason, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateRevocationListDer;

use crate::{
    lint::{self, LintError},
    signer::Signer,
    time::to_date,
};

impl Signer {
    /// Signs a CRL: every revoked certificate of this CA, under a number that the caller never uses twice.
    pub fn crl(&self, plan: &CrlPlan<'_>) -> Result<CertificateRevocationListDer<'static>, CrlError> {
        if plan.next_update <= plan.this_update {
            return Err(CrlError::NoTime);
        }
        let signed = CertificateRevocationListParams {
            this_update: to_date(plan.this_update),
            next_update: to_date(plan.next_update),
            crl_number: SerialNumber::from_slice(&plan.number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: plan.revoked.iter().map(Revoked::params).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(self.issuer())
        .map_err(|_| CrlError::Signing)?;
        let der: CertificateRevocationListDer<'static> = signed.into();
        lint::lint_crl(&der, self.facts(), plan)?;
        Ok(der)
    }
}

/// What a CRL will say.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct CrlPlan<'a> {
    /// Strictly greater than every number before it.
    pub number: u64,
    /// When it is signed.
    pub this_update: UnixTime,
    /// Until when it may be believed.
    pub next_update: UnixTime,
    /// Every certificate that is revoked and not long expired.
    pub revoked: &'a [Revoked],
}

/// One entry of a CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct Revoked {
    /// The certificate.
    pub serial: Serial,
    /// Since when.
    pub at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

impl Revoked {
    fn params(&self) -> RevokedCertParams {
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(self.serial.as_bytes()),
            revocation_time: to_date(self.at),
            reason_code: Some(self.reason.to_rcgen()),
            invalidity_date: None,
        }
    }
}

/// Why a certificate is revoked ([RFC 5280 §5.3.1](https://www.rfc-editor.org/rfc/rfc5280#section-5.3.1)), as far as
/// an end entity's can be. Holds do not exist: what is revoked stays revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "the reasons of RFC 5280 that apply")]
pub enum RevocationReason {
    /// No reason given; the CRL entry carries none.
    #[default]
    Unspecified,
    /// The private key is, or may be, in other hands.
    KeyCompromise,
    /// The holder moved elsewhere.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The agent or server is no more.
    CessationOfOperation,
    /// What it was allowed is withdrawn.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The name that RFC 5280 gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    const fn to_rcgen(self) -> Reason {
        match self {
            Self::Unspecified => Reason::Unspecified,
            Self::KeyCompromise => Reason::KeyCompromise,
            Self::AffiliationChanged => Reason::AffiliationChanged,
            Self::Superseded => Reason::Superseded,
            Self::CessationOfOperation => Reason::CessationOfOperation,
            Self::PrivilegeWithdrawn => Reason::PrivilegeWithdrawn,
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = CrlError;

    fn from_str(name: &str) -> Result<Self, CrlError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name)
            .ok_or_else(|| CrlError::UnknownReason(name.to_owned()))
    }
}

/// Why there is no CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// It would be over before it begins.
    #[error("the CRL's nextUpdate is not after its thisUpdate")]
    NoTime,
    /// No such reason.
    #[error(
        "unknown reason `{0}`; use unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation or privilegeWithdrawn"
    )]
    UnknownReason(String),
    /// rcgen or the key refused.
    #[error("the CRL could not be signed")]
    Signing,
    /// What was made breaks a rule, and is not handed out.
    #[error("the CRL that was made breaks a rule and was thrown away: {0}")]
    Lint(#[from] LintError),
}

#[cfg(test)]
mod tests;
