//! The seams: where a credential, trust and a signature on a request come from.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::credential::Credential;
use crate::trust::Trust;

/// Where a process gets the credential that it presents; the newest is always in the channel.
pub trait Source: Send + Sync {
    /// Follows the credential.
    fn watch(&self) -> watch::Receiver<Arc<Credential>>;
}

/// Where a process learns whom to believe.
pub trait TrustSource: Send + Sync {
    /// Follows the trust.
    fn watch(&self) -> watch::Receiver<Arc<Trust>>;
}

/// Whoever turns a certificate signing request into a chain.
pub trait Issuer: Send + Sync {
    /// Asks for a certificate over a PKCS#10 request in DER; answers the chain, leaf first.
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a>;
}

/// The answer of an [`Issuer`], once it comes.
pub type Issuing<'a> = Pin<Box<dyn Future<Output = Result<Vec<CertificateDer<'static>>, IssuerError>> + Send + 'a>>;

/// Why an issuer did not answer with a chain; the issuer's own words.
pub type IssuerError = Box<dyn Error + Send + Sync>;
