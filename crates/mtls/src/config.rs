//! The parts that the configurations of both sides share.

use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Credential;
use countermark_identity::Clock;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, SupportedProtocolVersion};
use rustls_pki_types::UnixTime;

/// The versions that are spoken; 1.2 only where it was asked for.
pub(crate) fn versions(tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    static ONE: &[&SupportedProtocolVersion] = &[&TLS13];
    if tls12 { BOTH } else { ONE }
}

/// What is offered by ALPN.
pub(crate) fn alpn(http2: bool) -> Vec<Vec<u8>> {
    if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] }
}

/// The credential as rustls presents it: always, whatever authorities the other side hints at.
pub(crate) fn presented(credential: &Credential, provider: &CryptoProvider) -> Result<Arc<SingleCertAndKey>, Error> {
    let key = provider.key_provider.load_private_key(credential.key().clone_key())?;
    let certified = CertifiedKey::new(credential.chain().to_vec(), key);
    certified.keys_match()?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Our clock, as rustls asks it.
#[derive(Debug)]
pub(crate) struct TlsClock(pub(crate) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.now().as_secs())))
    }
}
