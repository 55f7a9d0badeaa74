use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use countermark_identity::{Thumbprint, UnixTime};
use tempfile::TempDir;

use super::lock::Lock;
use super::*;
use crate::credential::CredentialError;
use crate::pem::PemError;
use crate::testing::{Ca, NOW, at, leaf_params, td, tempdir};

const PATH: &str = "/agent/billing-bot";
const BUNDLE: &str = "agents.internal.trust-bundle.pem";
const CRL: &str = "agents.internal.crl.pem";

/// A delivery directory with an authority that fills it.
struct Estate {
    temp: TempDir,
    root: Ca,
}

impl Estate {
    fn new() -> Self {
        Self { temp: tempdir(), root: Ca::root("root") }
    }

    fn delivered() -> Self {
        let estate = Self::new();
        estate.deliver(PATH).unwrap();
        estate
    }

    fn dir(&self) -> std::path::PathBuf {
        self.temp.path().join("identity")
    }

    fn delivery(&self, path: &str) -> Delivery {
        Delivery {
            credential: Arc::new(self.root.credential(path, &[])),
            bundles: vec![self.root.bundle()],
            crls: vec![DomainCrls { trust_domain: td(), crls: vec![self.root.crl(&[])] }],
        }
    }

    fn deliver(&self, path: &str) -> Result<Generation, DeliveryError> {
        deliver(&self.dir(), &self.delivery(path), NOW)
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(&self.dir(), NOW)
    }

    fn thumbprint(&self) -> Thumbprint {
        *self.load().unwrap().credential.leaf().thumbprint()
    }
}

fn deliver_own_trust(dir: &Path, bundle: Bundle, crls: Vec<Arc<Crl>>, access: Access) -> Result<bool, DeliveryError> {
    Writer::open(dir, access)?.deliver_own_trust(bundle, crls)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

mod deliver;
mod faults;
mod load;
mod manner;
mod trust;
