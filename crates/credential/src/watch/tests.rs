use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration as StdDuration;

use countermark_identity::{UnixTime, Usage};
use tempfile::TempDir;

use super::*;
use crate::bundle::Bundle;
use crate::crl::Crl;
use crate::directory::{Delivery, DomainCrls, deliver, deliver_trust};
use crate::testing::{Ca, NOW, ca_params, td, tempdir};
use crate::trust::{ChainError, RevocationError};

const PATH: &str = "/agent/billing-bot";

/// A directory under a root and an intermediate, and a peer whose chain is tried against what is published.
struct Estate {
    temp: TempDir,
    root: Ca,
    intermediate: Ca,
    peer: Credential,
}

impl Estate {
    fn new() -> Self {
        let root = Ca::root("root");
        let intermediate = root.intermediate("intermediate");
        let peer = intermediate.credential("/agent/intern-bot", &[&intermediate]);
        let estate = Self { temp: tempdir(), root, intermediate, peer };
        estate.deliver(PATH);
        estate
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("identity")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn deliver(&self, path: &str) -> Arc<Credential> {
        let credential = Arc::new(self.intermediate.credential(path, &[&self.intermediate]));
        let delivery = Delivery {
            credential: Arc::clone(&credential),
            bundles: vec![self.root.bundle().with_sequence(5)],
            crls: vec![DomainCrls { trust_domain: td(), crls: self.good_crls() }],
        };
        deliver(&self.dir(), &delivery, NOW).unwrap();
        credential
    }

    fn deliver_trust(&self, bundles: &[Bundle], crls: Vec<Arc<Crl>>) {
        deliver_trust(&self.dir(), bundles, &[DomainCrls { trust_domain: td(), crls }]).unwrap();
    }

    fn bundle(&self) -> Bundle {
        self.root.bundle().with_sequence(5)
    }

    fn good_crls(&self) -> Vec<Arc<Crl>> {
        vec![self.root.crl(&[]), self.intermediate.crl(&[])]
    }

    fn revoking_crls(&self) -> Vec<Arc<Crl>> {
        vec![self.root.crl(&[]), self.intermediate.crl(&[self.peer.leaf()])]
    }

    fn config(&self) -> DirectoryConfig {
        DirectoryConfig { state: Some(self.path("state.json")), ..DirectoryConfig::new(self.dir()) }
    }

    fn start(&self) -> (Reloader, reload::First) {
        self.start_with(self.config())
    }

    fn start_with(&self, config: DirectoryConfig) -> (Reloader, reload::First) {
        Reloader::start(config, NOW).unwrap()
    }

    fn judge(&self, trust: &Trust) -> Result<(), ChainError> {
        trust.verify(self.peer.chain(), self.peer.leaf(), &td(), Usage::Client, NOW).map(drop)
    }
}

fn reload(reloader: &mut Reloader) -> Changes {
    reloader.reload(BTreeMap::new(), NOW)
}

fn pem(crls: &[Arc<Crl>]) -> String {
    crls.iter().map(|crl| crl.to_pem()).collect()
}

fn reason(health: &Health) -> &str {
    match health {
        Health::Degraded { reason } => reason,
        Health::Current => panic!("not degraded"),
    }
}

fn crl_path(dir: &Path) -> PathBuf {
    dir.join("trust/current/agents.internal.crl.pem")
}

mod fetched;
mod follow;
mod keep;
mod roll_back;
