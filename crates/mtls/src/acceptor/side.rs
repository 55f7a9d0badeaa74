use std::sync::Arc;

use countermark_credential::Credential;
use countermark_identity::Clock;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};

use super::AcceptorConfig;
use crate::config::{TlsClock, alpn, presented, versions};
use crate::demand::Demand;
use crate::verifier::CallerVerifier;
use crate::{TrustGeneration, UnusableCredential};

/// The rustls configuration of one credential under one trust generation.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) credential: Arc<Credential>,
    pub(super) generation: Arc<TrustGeneration>,
    pub(super) tls: Arc<ServerConfig>,
}

impl Side {
    pub(super) fn new(
        credential: Arc<Credential>,
        generation: Arc<TrustGeneration>,
        demand: &Demand,
        clock: &Arc<dyn Clock>,
        config: &AcceptorConfig,
    ) -> Result<Self, UnusableCredential> {
        let verifier = CallerVerifier {
            demand: demand.clone(),
            generation: Arc::clone(&generation),
            provider: Arc::clone(&config.provider),
        };
        let key = presented(&credential, &config.provider)?;
        let time = Arc::new(TlsClock(Arc::clone(clock)));
        let mut tls = ServerConfig::builder_with_details(Arc::clone(&config.provider), time)
            .with_protocol_versions(versions(config.tls12))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(key);
        tls.alpn_protocols = alpn(config.http2);
        tls.max_early_data_size = 0;
        if config.session_cache == 0 {
            tls.session_storage = Arc::new(NoServerSessionStorage {});
            tls.send_tls13_tickets = 0;
        } else {
            tls.session_storage = ServerSessionMemoryCache::new(config.session_cache);
            tls.send_tls13_tickets = 1;
        }
        Ok(Self { credential, generation, tls: Arc::new(tls) })
    }
}
