//! A CA certificate with its key, and the leaves that it signs.

mod error;
mod plan;

use std::time::Duration;

use countermark_identity::{Serial, UnixTime};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SerialNumber};
use rustls_pki_types::CertificateDer;

use self::plan::{is_sub_agent, names, ttl};
pub use self::{
    error::SignError,
    plan::{LeafPlan, LeafRequest},
};
use crate::{
    ca::{BACKDATE, CaError, CaFacts, LEAF_SHARE, Serials, ca_facts, key_id},
    key::{KeyPair, SigningHalf},
    lint,
    profile::Profile,
    subject::{SubjectError, leaf_subject},
    time::to_date,
};

/// A CA certificate with its key.
#[derive(Debug)]
pub struct Signer {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    facts: CaFacts,
    issuer: Issuer<'static, SigningHalf>,
}

impl Signer {
    /// Puts a CA certificate and its key together; refused unless they belong together and the certificate is a CA's.
    pub fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, CaError> {
        let facts = ca_facts(&certificate)?;
        if facts.public_key != *key.public_key() {
            return Err(CaError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key.signing()).map_err(|_| CaError::Malformed)?;
        Ok(Self { certificate, key, facts, issuer })
    }

    /// The CA certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA key, to be sealed and stored.
    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Eight hex digits that tell this CA key from the others of its authority; they stand in its subject.
    #[must_use]
    pub fn key_id(&self) -> String {
        key_id(&self.key)
    }

    /// The CA certificate's own serial.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.facts.serial
    }

    /// When the CA certificate begins.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.facts.not_before
    }

    /// When the CA certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.facts.not_after
    }

    /// What the CA certificate says about itself.
    #[must_use]
    pub const fn facts(&self) -> &CaFacts {
        &self.facts
    }

    /// Decides everything about a leaf but its signature, so that it can be written down before it is signed.
    pub fn plan(&self, profile: &Profile, request: &LeafRequest<'_>, now: UnixTime) -> Result<LeafPlan, SignError> {
        let identity = request.identity;
        let (role, name) = identity.role().ok_or(SubjectError::NoRole)?;
        if role != profile.role() {
            return Err(SignError::Role { profile: profile.role(), identity: identity.clone() });
        }
        let key = request.public_key.key_type();
        if !profile.accepts(key) {
            return Err(SignError::KeyType { key, accepted: profile.keys().to_vec() });
        }
        let ttl = ttl(profile, request.ttl, is_sub_agent(role, name))?;
        let not_after = self.end_of(ttl, now)?;
        let backdate = BACKDATE.min(ttl / 2);
        Ok(LeafPlan {
            serial: Serials::random()?,
            identity: identity.clone(),
            subject: leaf_subject(identity)?,
            names: names(profile, request)?,
            public_key: request.public_key.clone(),
            not_before: now.saturating_sub(backdate).max(self.not_before()),
            not_after,
            issued_at: now,
        })
    }

    /// Signs what was planned, and judges the result before it is handed out.
    pub fn sign(&self, plan: &LeafPlan) -> Result<CertificateDer<'static>, SignError> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(plan.serial.as_bytes()));
        params.distinguished_name = plan.subject.clone();
        params.subject_alt_names.clone_from(&plan.names);
        params.not_before = to_date(plan.not_before);
        params.not_after = to_date(plan.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&plan.public_key, self.issuer()).map_err(|_| SignError::Signing)?;
        let der: CertificateDer<'static> = signed.into();
        lint::lint_leaf(&der, &self.facts, &plan.expected())?;
        Ok(der)
    }

    pub(crate) const fn issuer(&self) -> &Issuer<'static, SigningHalf> {
        &self.issuer
    }

    fn end_of(&self, ttl: Duration, now: UnixTime) -> Result<UnixTime, SignError> {
        let CaFacts { not_before, not_after, .. } = self.facts;
        if now < not_before {
            return Err(SignError::IssuerNotYet(not_before));
        }
        if now >= not_after {
            return Err(SignError::IssuerEnded(not_after));
        }
        let share = not_after.duration_since(not_before) / LEAF_SHARE;
        if ttl > share {
            return Err(SignError::Share { asked: ttl, most: share });
        }
        let end = now.saturating_add(ttl);
        if end > not_after {
            return Err(SignError::BeyondIssuer { asked: end, issuer_ends: not_after });
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
