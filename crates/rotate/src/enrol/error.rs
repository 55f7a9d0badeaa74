//! Why there is no first credential.

use std::path::PathBuf;

use countermark_credential::directory::DeliveryError;
use countermark_credential::{BundleError, CredentialError, IssuerError};
use countermark_identity::{SpiffeId, Thumbprint};

use crate::request::RequestError;

/// Why there is no first credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The authority did not prove itself, or did not answer. Nothing secret was sent.
    #[error("the authority did not prove itself, and nothing secret was sent: {0}")]
    Authority(#[source] IssuerError),
    /// The roots cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What came back is no credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// It could not be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The directory cannot be made.
    #[error("cannot make {}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The revocation lists cannot be had.
    #[error("the authority's revocation lists cannot be had, and nothing secret was sent: {0}")]
    Lists(#[source] IssuerError),
    /// A certificate of somebody else.
    #[error("the authority answered with a certificate of {found}, where {wanted} was asked for")]
    Misnamed {
        /// Whose it is.
        found: SpiffeId,
        /// Whose it should be.
        wanted: SpiffeId,
    },
    /// No root.
    #[error("the bundle holds no root certificate in PEM")]
    NoRoot,
    /// A root that names no trust domain.
    #[error("the root names no trust domain (a URI spiffe://TRUST-DOMAIN)")]
    NoTrustDomain,
    /// A certificate of nobody.
    #[error("the authority answered with a certificate without a SPIFFE ID")]
    Nobody,
    /// The directory is somebody else's.
    #[error("{} is the directory of {found}; give another", dir.display())]
    OtherIdentity {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: SpiffeId,
    },
    /// The pinned root is not among those of the authority.
    #[error("none of the authority's roots has the SHA-256 {pin}, and nothing secret was sent")]
    OtherRoot {
        /// The pin.
        pin: Thumbprint,
    },
    /// It did not give a certificate.
    #[error("the authority gave no certificate: {0}")]
    Refused(#[source] IssuerError),
    /// No request came about.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The secret cannot stand in a header.
    #[error("the secret holds characters that no secret has; is the file the right one?")]
    Secret,
    /// The work broke off.
    #[error("{what}")]
    Unlikely {
        /// How.
        what: String,
    },
    /// Nobody answers there.
    #[error("the authority's root cannot be fetched: {0}")]
    Unreachable(#[source] IssuerError),
    /// The certificate does not verify.
    #[error("the certificate that came back does not verify: {0}")]
    Unverified(String),
    /// No URL of an authority.
    #[error("`{text}` is no URL of an authority; write https://HOST:PORT")]
    Url {
        /// What is written.
        text: String,
    },
}
