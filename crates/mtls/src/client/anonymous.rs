//! Before the first credential: server-authenticated TLS, and one fetch that believes nobody.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countermark_identity::{Clock, TrustDomain};
use http::{Request, Response, Uri};
use http_body_util::Full;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::connector::name;
use super::{Client, ClientBody, ClientConfig, ClientError, Inner, Presents, once};
use crate::config::versions;
use crate::server::BoxError;
use crate::{ExpectedServer, TrustGeneration, UnusableCredential};

/// A client without a certificate: for those who ask for their first one, or for another after theirs expired.
///
/// The server is verified as it is for a [`Client`], before a byte of a request leaves; only the client has no name.
/// Nothing turns one into the other.
#[derive(Clone, Debug)]
pub struct AnonymousClient {
    client: Client,
}

impl AnonymousClient {
    /// A client that speaks to `expected` and to nobody else; a name or host is expected in `own`.
    ///
    /// # Errors
    /// The configuration names no version of TLS that the provider speaks.
    pub fn new(
        own: TrustDomain,
        trust: watch::Receiver<Arc<TrustGeneration>>,
        expected: ExpectedServer,
        clock: Arc<dyn Clock>,
        config: ClientConfig,
    ) -> Result<Self, UnusableCredential> {
        let inner = Inner::new(Presents::Nothing { own }, trust, expected, clock, config)?;
        Ok(Self { client: Client::of(inner) })
    }

    /// Sends a request to an `https` URL, once the server is who it should be.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, ClientError> {
        self.client.request(request).await
    }
}

/// GETs a public thing from whoever answers at an `https` URL, without verifying who that is.
///
/// Danger: the answer is anybody's. It is for what proves itself, such as a root whose hash is known or a signed
/// revocation list. Nothing but the path is sent, and no more than `limit` bytes are read.
///
/// # Errors
/// No connection, no 200, or too long an answer.
pub async fn danger_fetch_unverified(url: &Uri, limit: usize, config: &ClientConfig) -> Result<Bytes, BoxError> {
    let within = config.connect_timeout + config.handshake_timeout + PATIENCE;
    tokio::time::timeout(within, fetch(url, limit, config)).await.map_err(|_| "no answer in time")?
}

/// The certificate that whoever listens at `address` (HOST:PORT) presents and holds the key of, asked for as `server_name`.
///
/// Danger: nobody says that it is a good one. It is for comparing with the one that ought to be presented.
///
/// # Errors
/// No connection, or no handshake.
pub async fn danger_served_certificate(
    address: &str,
    server_name: &str,
    config: &ClientConfig,
) -> Result<CertificateDer<'static>, BoxError> {
    let served = async {
        let tcp = TcpStream::connect(address).await?;
        let tls = tls(config)?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name(server_name)?, tcp).await?;
        let served =
            stream.get_ref().1.peer_certificates().and_then(<[_]>::first).ok_or("no certificate is presented")?;
        Ok(served.clone().into_owned())
    };
    tokio::time::timeout(config.connect_timeout + config.handshake_timeout, served)
        .await
        .map_err(|_| "no handshake in time")?
}

/// A configuration that takes whoever it meets.
fn tls(config: &ClientConfig) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::clone(&config.provider);
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(config.tls12))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        .with_no_client_auth();
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

async fn fetch(url: &Uri, limit: usize, config: &ClientConfig) -> Result<Bytes, BoxError> {
    let authority = once::authority(url).ok_or("it is not an https URL")?;
    let server = name(authority.host())?;
    let host = authority.host().trim_matches(['[', ']']);
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let mut tls = tls(config)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TlsConnector::from(Arc::new(tls)).connect(server, tcp).await?;
    let response = once::exchange(stream, Request::get(url).body(Full::default())?, limit).await?;
    if !response.status().is_success() {
        return Err(format!("the answer is {}", response.status()).into());
    }
    Ok(response.into_body())
}

/// Accepts whoever holds the key of whatever certificate is shown.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How long an answer may take after the handshake.
const PATIENCE: Duration = Duration::from_secs(20);
