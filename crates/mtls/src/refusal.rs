//! Why a certificate was refused, why a handshake failed, why a right ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::{ChainError, CredentialError};
use countermark_identity::{IdentityError, LeafError, SpiffeId, UnixTime};
use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

/// Why the certificate of the other side was refused. For the log; the peer sees an alert alone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The chain does not verify under the bundle of its own trust domain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The leaf yields no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The leaf is not one that may stand for an identity at all.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// A client reached something that is not a server.
    #[error("`{presented}` is not a server: only /server/ identities may answer")]
    NotAServer {
        /// Who answered.
        presented: SpiffeId,
    },
    /// A caller whose role is not accepted here.
    #[error("`{presented}` may not call here: its role is not accepted by this listener")]
    Role {
        /// Who called.
        presented: SpiffeId,
    },
    /// A sub-agent, where delegation is not switched on.
    #[error("`{presented}` is a sub-agent, and sub-agents are not accepted here")]
    SubAgent {
        /// Who called.
        presented: SpiffeId,
    },
    /// A client reached another server than it meant to.
    #[error("expected {expected}, but `{presented}` answered")]
    WrongServer {
        /// What was demanded.
        expected: String,
        /// Who answered.
        presented: SpiffeId,
    },
}

impl Refusal {
    /// The rustls error whose alert tells the peer as much as it should know.
    pub(crate) fn to_certificate_error(&self) -> CertificateError {
        match self {
            Self::Leaf(error) => leaf_error(error),
            Self::Identity(_) => CertificateError::BadEncoding,
            Self::Chain(error) => chain_error(error),
            Self::NotAServer { .. } | Self::WrongServer { .. } => CertificateError::NotValidForName,
            Self::Role { .. } | Self::SubAgent { .. } => CertificateError::ApplicationVerificationFailure,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Our own credential cannot be used.
    #[error("our own certificate cannot be used")]
    Credential(#[source] Arc<UnusableCredential>),
    /// The transport failed, or the other side went away.
    #[error("the connection was lost during the handshake: {0}")]
    Io(#[source] io::Error),
    /// No certificate was presented.
    #[error("no client certificate was presented")]
    NoCertificate,
    /// The other side refused us and said so.
    #[error("the other side refused the handshake: {0:?}")]
    RefusedByPeer(AlertDescription),
    /// The certificate of the other side was refused.
    #[error("{0}")]
    Refused(#[source] Arc<Refusal>),
    /// The right ended between handshake and first use.
    #[error(transparent)]
    Ended(PeerEnded),
    /// The peer took too long.
    #[error("no handshake within {limit:?}")]
    Timeout {
        /// How long it had.
        limit: Duration,
    },
    /// TLS failed for a reason other than the certificate.
    #[error("tls: {0}")]
    Tls(#[source] rustls::Error),
}

impl HandshakeError {
    /// What the transport said, unless our own verifier knows better.
    pub(crate) fn from_io(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::AlertReceived(alert)) => Self::RefusedByPeer(*alert),
            Some(other) => Self::Tls(other.clone()),
            None => Self::Io(error),
        }
    }

    /// A word for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Credential(_) => "credential",
            Self::Ended(_) => "ended",
            Self::Io(_) => "io",
            Self::NoCertificate => "no_certificate",
            Self::Refused(_) => "refused",
            Self::RefusedByPeer(_) => "refused_by_peer",
            Self::Timeout { .. } => "timeout",
            Self::Tls(_) => "tls",
        }
    }
}

/// Why our own credential cannot carry TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnusableCredential {
    /// It is no credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The TLS library refuses it.
    #[error("the key or chain cannot be used for tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a right that a connection was accepted with is no more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PeerEnded {
    /// The connection itself is gone.
    #[error("the connection is closed")]
    Closed,
    /// Its certificate, or one above it, has expired.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// When.
        not_after: UnixTime,
    },
    /// The map now says that the certificate is another agent's.
    #[error("the certificate now stands for `{is}`, not for `{was}`")]
    IdentityChanged {
        /// Who it was at the handshake.
        was: SpiffeId,
        /// Who it is now.
        is: SpiffeId,
    },
    /// Newer bundles, CRLs or map refuse it.
    #[error("no longer accepted under trust generation {generation}: {refusal}")]
    Refused {
        /// The generation that refuses.
        generation: u64,
        /// Why.
        refusal: Arc<Refusal>,
    },
    /// Whoever runs the connection has ended it.
    #[error("ended: {reason}")]
    Withdrawn {
        /// In the words of who ended it.
        reason: Arc<str>,
    },
}

impl PeerEnded {
    /// A word for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Expired { .. } => "expired",
            Self::IdentityChanged { .. } => "identity_changed",
            Self::Refused { .. } => "refused",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

impl From<PeerEnded> for io::Error {
    fn from(ended: PeerEnded) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, ended)
    }
}

fn leaf_error(error: &LeafError) -> CertificateError {
    match error {
        LeafError::ExtendedKeyUsage { .. } => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    }
}

fn chain_error(error: &ChainError) -> CertificateError {
    match error {
        ChainError::Expired { .. } => CertificateError::Expired,
        ChainError::NotYetValid { .. } => CertificateError::NotValidYet,
        ChainError::Revoked { .. } => CertificateError::Revoked,
        ChainError::RevocationUnknown { .. } => CertificateError::UnknownRevocationStatus,
        ChainError::UnknownAuthority { .. } | ChainError::UnknownTrustDomain { .. } => CertificateError::UnknownIssuer,
        ChainError::Leaf(error) => leaf_error(error),
        _ => CertificateError::BadEncoding,
    }
}
