use std::error::Error as StdError;
use std::sync::Arc;

use hyper_util::client::legacy::Error as PoolError;
use rustls::AlertDescription;
use thiserror::Error;

use crate::{HandshakeError, PeerEnded, UnusableCredential, VerifiedServer};

/// Why a request has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Body(#[source] hyper::Error),
    /// There is no connection to the server.
    #[error("cannot connect: {0}")]
    Connect(#[source] PoolError),
    /// Our own credential cannot be used.
    #[error("our own certificate cannot be used: {0}")]
    Credential(#[source] Arc<UnusableCredential>),
    /// The server's right to answer ended under way.
    #[error("the connection was closed: {0}")]
    Ended(#[source] PeerEnded),
    /// The handshake failed on our side.
    #[error("{0}")]
    Handshake(#[source] Arc<HandshakeError>),
    /// Only `https` is spoken.
    #[error("`{uri}` is not an absolute https URL")]
    NotHttps {
        /// What was asked for.
        uri: String,
    },
    /// The server refused our certificate, or the lack of one.
    #[error("the server refused our certificate: {}", meaning(*alert))]
    RefusedByServer {
        /// The alert that it sent.
        alert: AlertDescription,
    },
    /// The connection was there, but the request got no answer on it.
    #[error("the request failed: {0}")]
    Request(#[source] PoolError),
}

impl ClientError {
    /// The alert by which the server refused us, if that is what happened.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::RefusedByServer { alert } => Some(*alert),
            _ => None,
        }
    }

    pub(super) fn from_request(error: PoolError, used: Option<&VerifiedServer>) -> Self {
        if let Some(failed) = find::<HandshakeFailure>(&error) {
            return match *failed.0 {
                HandshakeError::RefusedByPeer(alert) => Self::RefusedByServer { alert },
                _ => Self::Handshake(Arc::clone(&failed.0)),
            };
        }
        if let Some(refused) = refusal(&error, used) {
            return refused;
        }
        if error.is_connect() { Self::Connect(error) } else { Self::Request(error) }
    }

    pub(super) fn from_body(error: hyper::Error, used: Option<&VerifiedServer>) -> Self {
        refusal(&error, used).unwrap_or(Self::Body(error))
    }
}

/// What a handshake ended in, in a form that passes through the pool.
#[derive(Clone, Debug, Error)]
#[error(transparent)]
pub(super) struct HandshakeFailure(#[from] pub(super) Arc<HandshakeError>);

/// In TLS 1.3 a server refuses our certificate after our handshake has finished.
fn refusal(error: &(dyn StdError + 'static), used: Option<&VerifiedServer>) -> Option<ClientError> {
    let live = used.map(VerifiedServer::live);
    let told = || match find::<rustls::Error>(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    };
    if let Some(alert) = live.and_then(|live| live.alert()).or_else(told) {
        return Some(ClientError::RefusedByServer { alert });
    }
    match live?.judge() {
        Ok(()) | Err(PeerEnded::Closed) => None,
        Err(ended) => Some(ClientError::Ended(ended)),
    }
}

/// The first error of this type in the chain; an I/O error is looked into, since it hides its own.
pub(super) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What the alert says about us, in words that name the next step.
pub(super) fn meaning(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::AccessDenied => "this identity may not call there (its role is not accepted)",
        AlertDescription::BadCertificate => "the certificate names no identity that it accepts",
        AlertDescription::CertificateExpired => "the certificate has expired, or a clock is wrong; renew it",
        AlertDescription::CertificateRequired => "it got no certificate",
        AlertDescription::CertificateRevoked => "the certificate is revoked",
        AlertDescription::ProtocolVersion => "no common TLS version",
        AlertDescription::UnknownCA => {
            "it does not trust our authority, or cannot know whether the certificate is revoked"
        }
        AlertDescription::UnsupportedCertificate => "the certificate is not one for clients",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}
