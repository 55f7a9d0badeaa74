//! What the certificate of a certification authority says about itself, and the rules it must keep.

use std::sync::Arc;

use countermark_identity::{Serial, TrustDomain, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// A CA certificate that may sign for one trust domain, parsed once.
///
/// Holding one says that the certificate is shaped like a CA of that trust domain; only a
/// [`VerifiedChain`](crate::VerifiedChain) says that it leads to a root.
#[derive(Debug)]
pub struct Authority {
    subject: String,
    subject_der: Box<[u8]>,
    serial: Serial,
    spki_der: Arc<[u8]>,
    not_before: UnixTime,
    not_after: UnixTime,
    signs_crls: bool,
}

impl Authority {
    /// Parses a CA certificate and holds it to the rules for a signing certificate.
    ///
    /// [X509-SVID §3.1 and §4](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md): `CA:TRUE`, `keyCertSign`, and a URI
    /// name, if there is one, that is the trust domain's own SPIFFE ID without a path.
    pub fn parse(der: &[u8], trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::Malformed)?;
        if !rest.is_empty() {
            return Err(AuthorityError::Malformed);
        }
        certificate.extensions_map().map_err(|_| AuthorityError::DuplicateExtension)?;
        if !certificate.is_ca() {
            return Err(AuthorityError::NotCa);
        }
        let usage = certificate.key_usage().map_err(|_| AuthorityError::Malformed)?;
        // RFC 5280 §4.2.1.3: conforming CAs must include keyUsage; where it is absent, nothing says that the key may sign.
        let usage = usage.ok_or(AuthorityError::NoKeyUsage)?;
        if !usage.value.key_cert_sign() {
            return Err(AuthorityError::NoKeyCertSign);
        }
        require_own_uri(&certificate, trust_domain)?;
        Ok(Self {
            subject: certificate.subject().to_string().escape_debug().to_string(),
            subject_der: certificate.subject().as_raw().into(),
            serial: Serial::from_der_integer(certificate.raw_serial()).map_err(|_| AuthorityError::Malformed)?,
            spki_der: certificate.public_key().raw.into(),
            not_before: unix_time(certificate.validity().not_before.timestamp()),
            not_after: unix_time(certificate.validity().not_after.timestamp()),
            signs_crls: usage.value.crl_sign(),
        })
    }

    /// The subject as text, for people only.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject as DER, to compare byte for byte.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The public key, as a `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// When it begins to hold.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When it ends.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether its key may sign certificate revocation lists.
    #[must_use]
    pub const fn signs_crls(&self) -> bool {
        self.signs_crls
    }
}

/// Refuses a URI name that is not the trust domain's own SPIFFE ID without a path.
fn require_own_uri(certificate: &X509Certificate<'_>, trust_domain: &TrustDomain) -> Result<(), AuthorityError> {
    let mut uris = 0;
    for extension in certificate.extensions() {
        let names = match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => names,
            ParsedExtension::ParseError { .. } => return Err(AuthorityError::Malformed),
            _ => continue,
        };
        for name in &names.general_names {
            let GeneralName::URI(uri) = name else { continue };
            uris += 1;
            if uri.strip_prefix("spiffe://") != Some(trust_domain.as_str()) || uris > 1 {
                return Err(AuthorityError::ForeignUri {
                    uri: uri.chars().take(300).flat_map(char::escape_default).collect(),
                    trust_domain: trust_domain.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Seconds since the epoch; what is before it counts as it.
pub(crate) fn unix_time(timestamp: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// Why a certificate may not sign for a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// An extension stands twice.
    #[error("an extension stands twice in it")]
    DuplicateExtension,
    /// Its URI name is not the trust domain's own.
    #[error("its URI name `{uri}` is not spiffe://{trust_domain}")]
    ForeignUri {
        /// The name, escaped.
        uri: String,
        /// Whose authority it ought to be.
        trust_domain: TrustDomain,
    },
    /// It is not a certificate in DER.
    #[error("it is not a certificate in DER")]
    Malformed,
    /// The key may not sign certificates.
    #[error("its keyUsage does not allow it to sign certificates (keyCertSign)")]
    NoKeyCertSign,
    /// Nothing says that the key may sign certificates.
    #[error("it has no keyUsage, which must say that it signs certificates (keyCertSign)")]
    NoKeyUsage,
    /// It is not a CA certificate.
    #[error("it is not a CA certificate (basicConstraints CA:TRUE)")]
    NotCa,
    /// The path verification cannot begin at it.
    #[error("it cannot be verified against: {detail}")]
    Unusable {
        /// What the path verification said.
        detail: String,
    },
}
