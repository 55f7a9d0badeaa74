//! A client of servers that are none of ours: they are known as any https server is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countermark_credential::Credential;
use countermark_identity::Clock;
use http::{Request, Response};
use http_body_util::Full;
use rustls::client::Resumption;
use rustls::{AlertDescription, CertificateError, PeerIncompatible, RootCertStore};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connector::name;
use super::error::{find, meaning};
use super::{ClientConfig, once};
use crate::config::{TlsClock, presented, versions};
use crate::server::BoxError;

/// A client that presents its credential to servers without a SPIFFE ID: one is believed whose certificate leads to a root that
/// somebody named, is one for servers, holds now, and names the host of the URL.
///
/// Each request has a connection of its own. A server of ours is a [`Client`](super::Client)'s to reach, which knows who answers.
#[derive(Clone)]
pub struct HostClient {
    tls: TlsConnector,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    tls12: bool,
}

impl std::fmt::Debug for HostClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostClient").finish_non_exhaustive()
    }
}

impl HostClient {
    /// A client of the servers that are known by these roots.
    ///
    /// Danger: nobody asks whether the server's certificate is revoked. It is believed until it expires.
    ///
    /// # Errors
    /// There is no root, one is unusable, or the credential cannot carry TLS.
    pub fn danger_without_revocation(
        credential: &Credential,
        roots: &[CertificateDer<'_>],
        clock: Arc<dyn Clock>,
        config: &ClientConfig,
    ) -> Result<Self, HostClientError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone().into_owned()).map_err(HostClientError::Root)?;
        }
        if store.is_empty() {
            return Err(HostClientError::NoRoot);
        }
        let provider = Arc::clone(&config.provider);
        let mut tls = rustls::ClientConfig::builder_with_details(provider, Arc::new(TlsClock(clock)))
            .with_protocol_versions(versions(config.tls12))
            .map_err(HostClientError::Tls)?
            .with_root_certificates(store)
            .with_client_cert_resolver(presented(credential, &config.provider).map_err(HostClientError::Credential)?);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = Resumption::disabled();
        let tls = TlsConnector::from(Arc::new(tls));
        let (connect_timeout, handshake_timeout) = (config.connect_timeout, config.handshake_timeout);
        Ok(Self { tls, connect_timeout, handshake_timeout, tls12: config.tls12 })
    }

    /// Sends a request to an `https` URL, once the server is who it should be, and reads the whole answer, `limit` bytes of it at
    /// most. How long an answer may take is the caller's to say.
    ///
    /// # Errors
    /// Says who refused whom, and why.
    pub async fn request(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Response<Bytes>, HostClientError> {
        let url = request.uri();
        let not_https = || HostClientError::NotHttps { uri: url.to_string() };
        let authority = once::authority(url).ok_or_else(not_https)?;
        let server = name(authority.host()).map_err(|_| not_https())?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(443);
        let unreachable = |source| HostClientError::Connect { address: format!("{}:{port}", authority.host()), source };
        let tcp = within(self.connect_timeout, TcpStream::connect((host, port))).await?.map_err(unreachable)?;
        let stream = within(self.handshake_timeout, self.tls.connect(server, tcp)).await?;
        let stream = stream.map_err(|error| self.explain(error).unwrap_or_else(unreachable))?;
        once::exchange(stream, request, limit).await.map_err(exchange)
    }

    /// What a handshake failed of; the error itself where that was not TLS.
    fn explain(&self, error: io::Error) -> Result<HostClientError, io::Error> {
        let tls12 = self.tls12;
        Ok(match find::<rustls::Error>(&error) {
            Some(rustls::Error::InvalidCertificate(refused)) => HostClientError::Refused(refused.clone()),
            Some(
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
                | rustls::Error::PeerIncompatible(
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                ),
            ) => HostClientError::Version { tls12 },
            // In TLS 1.3 our certificate leaves only after the handshake is done here.
            Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) if !tls12 => {
                HostClientError::NothingInCommon
            }
            Some(rustls::Error::AlertReceived(alert)) => HostClientError::RefusedByServer { alert: *alert },
            Some(other) => HostClientError::Tls(other.clone()),
            None => return Err(error),
        })
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, HostClientError> {
    tokio::time::timeout(limit, work).await.map_err(|_| HostClientError::Timeout { limit })
}

/// In TLS 1.3 a server refuses our certificate after our handshake has finished.
fn exchange(error: BoxError) -> HostClientError {
    match find::<rustls::Error>(error.as_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => HostClientError::RefusedByServer { alert: *alert },
        _ => HostClientError::Request(error),
    }
}

/// Why a server that is known by its host gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostClientError {
    /// There is no connection to the server.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Our own credential cannot be used.
    #[error("our own certificate cannot be used: {0}")]
    Credential(#[source] rustls::Error),
    /// Nobody is believed without a root.
    #[error("there is no root by which to know the server")]
    NoRoot,
    /// Only `https` is spoken.
    #[error("`{uri}` is not an absolute https URL")]
    NotHttps {
        /// What was asked for.
        uri: String,
    },
    /// The server ended the handshake before it could see our certificate.
    #[error(
        "the server has no cipher suite, key exchange or signature algorithm of TLS 1.3 in common with us (handshake_failure); \
         let it take the usual ones"
    )]
    NothingInCommon,
    /// The server's certificate is not one to believe.
    #[error("the server's certificate is refused: {}", words(.0))]
    Refused(CertificateError),
    /// The server refused our certificate, or the lack of one.
    #[error("the server refused our certificate: {}", meaning(*alert))]
    RefusedByServer {
        /// The alert that it sent.
        alert: AlertDescription,
    },
    /// The connection was there, but the request got no answer on it.
    #[error("the request failed: {0}")]
    Request(#[source] BoxError),
    /// A root by which nobody can be known.
    #[error("a root cannot be used: {0}")]
    Root(#[source] rustls::Error),
    /// It took too long.
    #[error("no connection within {limit:?}")]
    Timeout {
        /// How long it had.
        limit: Duration,
    },
    /// TLS failed for a reason other than a certificate.
    #[error("tls: {0}")]
    Tls(#[source] rustls::Error),
    /// The server speaks no version of TLS that is spoken here.
    #[error("the server speaks no TLS 1.3{}; let it speak TLS 1.3", if *tls12 { " and no TLS 1.2" } else { "" })]
    Version {
        /// Whether 1.2 was offered, too.
        tls12: bool,
    },
}

fn words(refused: &CertificateError) -> String {
    match refused {
        CertificateError::UnknownIssuer => "it leads to none of the roots that are named for it".to_owned(),
        other => other.to_string(),
    }
}
