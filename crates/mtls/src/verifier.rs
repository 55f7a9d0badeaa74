//! The certificate verifiers that rustls calls, and how their reason reaches the caller.
//!
//! rustls turns a refusal into an alert and an error of its own that cannot carry ours. Each
//! handshake therefore runs inside [`observed`]: the verifier, called from within, leaves its
//! outcome there.

use std::sync::{Arc, Mutex, PoisonError};

use countermark_identity::UnixTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};

use crate::demand::Demand;
use crate::evidence::Evidence;
use crate::{ExpectedServer, Refusal, TrustGeneration};

tokio::task_local! {
    static OUTCOME: Outcome;
}

type Outcome = Arc<Mutex<Option<Result<Evidence, Arc<Refusal>>>>>;

/// Runs a handshake and returns with its result what our verifier concluded in it, if it was asked.
pub(crate) async fn observed<F: Future>(handshake: F) -> (F::Output, Option<Result<Evidence, Arc<Refusal>>>) {
    let outcome = Outcome::default();
    let output = OUTCOME.scope(Arc::clone(&outcome), handshake).await;
    let concluded = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    (output, concluded)
}

fn conclude(verdict: Result<Evidence, Refusal>) -> Result<(), Error> {
    let (verdict, result) = match verdict {
        Ok(evidence) => (Ok(evidence), Ok(())),
        Err(refusal) => {
            let error = Error::InvalidCertificate(refusal.to_certificate_error());
            (Err(Arc::new(refusal)), Err(error))
        }
    };
    // Outside of a handshake of ours there is nobody to tell; the refusal stands all the same.
    let _ = OUTCOME.try_with(|outcome| {
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    });
    result
}

fn presented(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Box<[CertificateDer<'static>]> {
    std::iter::once(leaf).chain(above).map(|der| der.clone().into_owned()).collect()
}

/// Judges callers.
#[derive(Debug)]
pub(crate) struct CallerVerifier {
    pub(crate) demand: Demand,
    pub(crate) generation: Arc<TrustGeneration>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for CallerVerifier {
    /// Strangers learn no names of our authorities.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// A handshake without a certificate fails, unless the acceptor says otherwise; a bad one always fails.
    fn client_auth_mandatory(&self) -> bool {
        self.demand.requires_certificate()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = presented(end_entity, intermediates);
        let now = UnixTime::from_secs(now.as_secs());
        conclude(Evidence::verify(chain, &self.demand, &self.generation, now))?;
        Ok(ClientCertVerified::assertion())
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

/// Judges servers.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) expected: ExpectedServer,
    pub(crate) own: countermark_identity::TrustDomain,
    pub(crate) generation: Arc<TrustGeneration>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    pub(crate) fn demand(&self, host: &ServerName<'_>) -> Demand {
        Demand::Server { expected: self.expected.clone(), own: self.own.clone(), host: host.to_owned() }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: TlsTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = presented(end_entity, intermediates);
        let now = UnixTime::from_secs(now.as_secs());
        conclude(Evidence::verify(chain, &self.demand(server_name), &self.generation, now))?;
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
