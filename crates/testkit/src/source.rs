use std::sync::Arc;

use countermark_credential::{Credential, Source, Trust, TrustSource};
use countermark_identity::SanMap;
use countermark_mtls::{TrustGeneration, TrustGenerations};
use tokio::sync::watch;

/// A credential that a test changes while it is in use.
#[derive(Debug)]
pub struct TestSource {
    sender: watch::Sender<Arc<Credential>>,
}

impl TestSource {
    /// Begins with this one.
    #[must_use]
    pub fn new(credential: Arc<Credential>) -> Self {
        Self { sender: watch::Sender::new(credential) }
    }

    /// Publishes the next one.
    pub fn set(&self, credential: Arc<Credential>) {
        self.sender.send_replace(credential);
    }
}

impl Source for TestSource {
    fn watch(&self) -> watch::Receiver<Arc<Credential>> {
        self.sender.subscribe()
    }
}

/// Trust and map that a test changes while they are in use.
#[derive(Debug)]
pub struct TestTrust {
    trust: watch::Sender<Arc<Trust>>,
    map: watch::Sender<Arc<SanMap>>,
}

impl TestTrust {
    /// Begins with these.
    #[must_use]
    pub fn new(trust: Arc<Trust>, map: SanMap) -> Self {
        Self { trust: watch::Sender::new(trust), map: watch::Sender::new(Arc::new(map)) }
    }

    /// Publishes the next trust.
    pub fn set(&self, trust: Arc<Trust>) {
        self.trust.send_replace(trust);
    }

    /// Publishes the next map.
    pub fn set_map(&self, map: SanMap) {
        self.map.send_replace(Arc::new(map));
    }

    /// Both, joined, as acceptors and clients take them. Needs a tokio runtime.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<Arc<TrustGeneration>> {
        TrustGenerations::join(self.trust.subscribe(), self.map.subscribe()).watch()
    }
}

impl TrustSource for TestTrust {
    fn watch(&self) -> watch::Receiver<Arc<Trust>> {
        self.trust.subscribe()
    }
}
