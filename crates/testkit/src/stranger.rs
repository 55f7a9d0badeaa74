//! Peers that follow no rules of ours, for tests of what ours do about them.

use std::sync::Arc;

use countermark_mtls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::Minted;

/// A client that believes any server and presents whatever it was given, or nothing.
#[must_use]
pub fn anyone(minted: Option<Minted>) -> ClientConfig {
    anyone_over(&[&TLS13, &TLS12], minted)
}

/// [`anyone`], who speaks these versions of TLS and no other.
#[must_use]
pub fn anyone_over(versions: &[&'static SupportedProtocolVersion], minted: Option<Minted>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider())))
        .with_no_client_auth();
    if let Some(Minted { chain, key }) = minted {
        // Past the builder, which would read the certificate first.
        let key = provider().key_provider.load_private_key(key).expect("a key");
        let presented = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        config.client_auth_cert_resolver = Arc::new(presented);
    }
    config
}

/// A server that presents whatever it was given and asks nobody for anything.
#[must_use]
pub fn any_server(minted: Minted) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(minted.chain, minted.key)
        .expect("a server certificate")
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
