//! A CA certificate with its key, and the leaves that it signs.

mod error;
mod plan;

use std::time::Duration;

use countermark_identity::{Serial, UnixTime};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SerialNumber};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use self::plan::{is_sub_agent, names, ttl};
pub use self::{
    error::SignError,
    plan::{LeafPlan, LeafRequest},
};
use crate::{
    ca::{BACKDATE, CaError, LEAF_SHARE, Serials, key_id},
    key::KeyPair,
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
    not_before: UnixTime,
    not_after: UnixTime,
    serial: Serial,
}

impl Signer {
    /// Puts a CA certificate and its key together; refused unless they belong together and the certificate is a CA's.
    pub fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, CaError> {
        let (rest, parsed) = X509Certificate::from_der(&certificate).map_err(|_| CaError::Malformed)?;
        if !rest.is_empty() {
            return Err(CaError::Malformed);
        }
        if !lint::is_ca(&parsed) {
            return Err(CaError::NotCa);
        }
        if parsed.public_key().raw != key.public_key().spki_der() {
            return Err(CaError::KeyMismatch);
        }
        let (not_before, not_after) = lint::validity(&parsed).ok_or(CaError::Malformed)?;
        let serial = Serial::from_der_integer(parsed.raw_serial()).map_err(|_| CaError::Malformed)?;
        Ok(Self { certificate, key, not_before, not_after, serial })
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
        &self.serial
    }

    /// When the CA certificate begins.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When the CA certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
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
            not_before: now.saturating_sub(backdate).max(self.not_before),
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
        let issuer = self.issuer().map_err(|_| SignError::Signing)?;
        let signed = params.signed_by(&plan.public_key, &issuer).map_err(|_| SignError::Signing)?;
        let der: CertificateDer<'static> = signed.into();
        lint::lint_leaf(&der, &self.certificate, &plan.expected())?;
        Ok(der)
    }

    pub(crate) fn issuer(&self) -> Result<Issuer<'static, &impl rcgen::SigningKey>, rcgen::Error> {
        Issuer::from_ca_cert_der(&self.certificate, self.key.signing())
    }

    fn end_of(&self, ttl: Duration, now: UnixTime) -> Result<UnixTime, SignError> {
        if now < self.not_before {
            return Err(SignError::IssuerNotYet(self.not_before));
        }
        if now >= self.not_after {
            return Err(SignError::IssuerEnded(self.not_after));
        }
        let share = self.not_after.duration_since(self.not_before) / LEAF_SHARE;
        if ttl > share {
            return Err(SignError::Share { asked: ttl, most: share });
        }
        let end = now.saturating_add(ttl);
        if end > self.not_after {
            return Err(SignError::BeyondIssuer { asked: end, issuer_ends: self.not_after });
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
