//! Why a certificate is no leaf of ours.

use super::Usage;
use crate::{SanError, SerialError, SpiffeIdError};

/// Why a certificate yields no identity. Each refusal has its own variant, so that a log line tells what to mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// `CA:TRUE` in BasicConstraints.
    #[error("the certificate is a certificate authority's (CA:TRUE): an authority is nobody's identity")]
    Authority,
    /// The `cRLSign` bit in keyUsage.
    #[error("the certificate may sign revocation lists (cRLSign): a leaf must not")]
    CrlSign,
    /// A critical extension that is not understood here.
    #[error("the certificate has a critical extension that is not understood: {oid}")]
    CriticalExtension {
        /// Its object identifier.
        oid: String,
    },
    /// Not an X.509 certificate in DER.
    #[error("not an X.509 certificate in strict DER")]
    Der,
    /// An extension that stands there twice.
    #[error("the certificate has the extension {oid} twice")]
    DuplicateExtension {
        /// Its object identifier.
        oid: String,
    },
    /// Two subjectAltName extensions.
    #[error("the certificate has two subjectAltName extensions: exactly one is allowed")]
    DuplicateSan,
    /// An extended key usage without the purpose that is needed.
    #[error("the extended key usage of the certificate lacks {wanted}")]
    ExtendedKeyUsage {
        /// The direction in which it was to be used.
        wanted: Usage,
    },
    /// An extension whose content does not parse.
    #[error("the content of the extension {oid} is broken")]
    Extension {
        /// Its object identifier.
        oid: String,
    },
    /// The `keyCertSign` bit in keyUsage.
    #[error("the certificate may sign certificates (keyCertSign): a leaf must not")]
    KeyCertSign,
    /// A keyUsage that is not critical, beside a `spiffe://` URI.
    #[error("the keyUsage of the certificate is not critical: an X509-SVID's must be")]
    KeyUsageNotCritical,
    /// No BasicConstraints beside a `spiffe://` URI.
    #[error("the certificate has no BasicConstraints: an X509-SVID says CA:FALSE there")]
    NoBasicConstraints,
    /// A keyUsage without `digitalSignature`.
    #[error("the keyUsage of the certificate lacks digitalSignature: it cannot authenticate anyone in TLS 1.3")]
    NoDigitalSignature,
    /// No keyUsage beside a `spiffe://` URI.
    #[error("the certificate has no keyUsage: an X509-SVID has a critical one with digitalSignature")]
    NoKeyUsage,
    /// No subject alternative name at all. The common name is not looked at.
    #[error("the certificate has no subject alternative name: its subject (CN) is never an identity")]
    NoSan,
    /// A SPIFFE ID that names only a trust domain.
    #[error("the SPIFFE ID of the certificate has no path: it names a trust domain, as an authority's does")]
    RootPath,
    /// A name that is odd in itself.
    #[error("a subject alternative name of the certificate is refused: {0}")]
    San(#[from] SanError),
    /// A subjectAltName that is not critical, beside a `spiffe://` URI and an empty subject.
    #[error("the certificate has an empty subject and its subjectAltName is not critical: RFC 5280 demands that")]
    SanNotCritical,
    /// The serial number is odd.
    #[error("the certificate is refused: {0}")]
    Serial(#[from] SerialError),
    /// A `spiffe:` URI that is no SPIFFE ID.
    #[error("the URI of the certificate is no SPIFFE ID: {0}")]
    SpiffeId(SpiffeIdError),
    /// Bytes after the end of the certificate.
    #[error("there are bytes after the end of the certificate")]
    TrailingData,
    /// More than one URI.
    #[error("the certificate has {count} URI names: exactly one says who it is")]
    TwoUris {
        /// How many there are.
        count: usize,
    },
    /// Not version 3.
    #[error("the certificate is of X.509 version {found}: only version 3 has the extensions that say who it is")]
    Version {
        /// The version found, as people count.
        found: u32,
    },
}
