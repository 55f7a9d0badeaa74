//! Roots and intermediates.

use std::time::Duration;

use countermark_identity::{Serial, TrustDomain, UnixTime};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType, SerialNumber};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, KeyIdentifier, ParsedExtension},
    prelude::FromDer,
};

use crate::{
    key::{KeyError, KeyPair, random},
    lint::{self, LintError},
    public_key::PublicKey,
    signer::Signer,
    subject::{SubjectError, ca_subject},
    time::to_date,
};

/// How long a root lives: 10 years.
pub const ROOT_LIFE: Duration = Duration::from_secs(10 * YEAR);
/// How long an intermediate lives: 1 year.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_secs(YEAR);
/// How far a certificate's beginning lies in the past, for clocks that are slow; never more than half its life.
pub const BACKDATE: Duration = Duration::from_secs(60);
/// A leaf lives at most this fraction (one sixth) of its issuer's whole life.
pub const LEAF_SHARE: u32 = 6;

impl Signer {
    /// Makes a self-signed root. It signs intermediates alone (pathLen 1).
    pub fn root(domain: &TrustDomain, key: KeyPair, life: Duration, now: UnixTime) -> Result<Self, CaError> {
        let subject = ca_subject(domain, "root", &key_id(&key))?;
        let mut params = ca_params(domain, &Serials::random()?, 1)?;
        params.distinguished_name = subject;
        params.not_before = to_date(now.saturating_sub(BACKDATE));
        params.not_after = to_date(now.saturating_add(life));
        let certificate = params.self_signed(&key.signing()).map_err(|_| CaError::Signing)?;
        let der: CertificateDer<'static> = certificate.into();
        lint::lint_ca(&der, &ca_facts(&der)?, domain, now)?;
        Self::new(der, key)
    }

    /// Makes an intermediate under this root: 1 year, or until the root ends, if that is sooner (pathLen 0).
    pub fn intermediate(
        &self,
        domain: &TrustDomain,
        key: KeyPair,
        life: Duration,
        now: UnixTime,
    ) -> Result<Self, CaError> {
        if now >= self.not_after() {
            return Err(CaError::IssuerEnded(self.not_after()));
        }
        let subject = ca_subject(domain, "intermediate", &key_id(&key))?;
        let mut params = ca_params(domain, &Serials::random()?, 0)?;
        params.distinguished_name = subject;
        params.not_before = to_date(now.saturating_sub(BACKDATE).max(self.not_before()));
        params.not_after = to_date(now.saturating_add(life).min(self.not_after()));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key.public_key(), self.issuer()).map_err(|_| CaError::Signing)?;
        let der: CertificateDer<'static> = certificate.into();
        lint::lint_ca(&der, self.facts(), domain, now)?;
        Self::new(der, key)
    }
}

/// What a CA certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaFacts {
    /// Its serial.
    pub serial: Serial,
    /// When it begins.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
    /// Its one URI, which names the trust domain.
    pub spiffe_uri: Option<String>,
    /// Its subjectKeyIdentifier, which its leaves name as their authority's.
    pub key_identifier: Option<Vec<u8>>,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its subject as it stands there, DER, which its leaves name as their issuer.
    pub subject: Vec<u8>,
}

/// Reads a CA certificate; refused unless it may sign certificates and CRLs.
pub fn ca_facts(der: &[u8]) -> Result<CaFacts, CaError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CaError::Malformed)?;
    if !rest.is_empty() {
        return Err(CaError::Malformed);
    }
    if !lint::is_ca(&certificate) {
        return Err(CaError::NotCa);
    }
    let (not_before, not_after) = lint::validity(&certificate).ok_or(CaError::Malformed)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let spiffe_uri = match (uris.next(), uris.next()) {
        (Some(uri), None) => Some(uri),
        _ => None,
    };
    let key_identifier = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(KeyIdentifier(id)) => Some(id.to_vec()),
        _ => None,
    });
    let public_key = PublicKey::from_spki(certificate.public_key().raw).map_err(KeyError::from)?;
    let serial = Serial::from_der_integer(certificate.raw_serial()).map_err(|_| CaError::Malformed)?;
    let subject = certificate.subject().as_raw().to_vec();
    Ok(CaFacts { serial, not_before, not_after, spiffe_uri, key_identifier, public_key, subject })
}

/// Why there is no CA certificate, or why one cannot sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// No key, or no randomness for a serial.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The trust domain does not fit a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The certificate cannot be read.
    #[error("the CA certificate cannot be read")]
    Malformed,
    /// Not a certificate that may sign certificates and CRLs.
    #[error("the certificate is not a CA's: it needs CA:TRUE, keyCertSign and cRLSign")]
    NotCa,
    /// The key belongs to another certificate.
    #[error("the CA key does not belong to the CA certificate; put the pair back together")]
    KeyMismatch,
    /// The issuer's life is over.
    #[error("the issuing CA ended on {0}; make a new one")]
    IssuerEnded(UnixTime),
    /// rcgen or the key refused.
    #[error("the CA certificate could not be signed")]
    Signing,
    /// What was made breaks a rule, and is not handed out.
    #[error("the CA certificate that was made breaks a rule and was thrown away: {0}")]
    Lint(#[from] LintError),
}

/// Makes serial numbers: 16 random bytes, positive, always of the same length (126 random bits).
pub(crate) struct Serials;

impl Serials {
    pub(crate) fn random() -> Result<Serial, KeyError> {
        let mut bytes = [0; 16];
        random(&mut bytes)?;
        if let Some(first) = bytes.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        Serial::from_be_bytes(&bytes).map_err(|_| KeyError::Generate)
    }
}

/// Eight hex digits of the key's SHA-256: what tells two keys of one authority apart.
pub(crate) fn key_id(key: &KeyPair) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().spki_der());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn ca_params(domain: &TrustDomain, serial: &Serial, path_len: u8) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // X509-SVID §3.2: a signing certificate's SPIFFE ID has no path.
    let id = format!("spiffe://{}", domain.as_str());
    params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(|_| CaError::Signing)?)];
    Ok(params)
}

const YEAR: u64 = 365 * 24 * 3600;

#[cfg(test)]
mod tests;
