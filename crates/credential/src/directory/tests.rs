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

    /// As somebody fills a directory by hand: a credential, roots and lists, a partner's among them.
    fn plain() -> Self {
        let estate = Self::new();
        let (dir, delivery) = (estate.dir(), estate.delivery(PATH));
        fs::create_dir(&dir).unwrap();
        let write = |name: &str, content: &[u8]| {
            fs::write(dir.join(name), content).unwrap();
            chmod(dir.join(name), 0o600);
        };
        write("tls.key", delivery.credential.key_to_pem().expose().as_bytes());
        write("tls.crt", delivery.credential.chain_to_pem().as_bytes());
        write(BUNDLE, estate.root.bundle().to_pem().as_bytes());
        write(CRL, delivery.crls[0].crls[0].to_pem().as_bytes());
        let mut params = crate::testing::ca_params("partner");
        params.subject_alt_names.clear();
        let partner = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let partner = Bundle::new("partner.example".parse().unwrap(), vec![partner.der().clone()]).unwrap();
        write("partner.example.trust-bundle.pem", partner.to_pem().as_bytes());
        estate
    }

    /// Whether its own roots and lists count, and the partner's.
    #[track_caller]
    fn holds_all(&self) {
        let loaded = self.load().unwrap();
        let known: Vec<_> = loaded.bundles.iter().map(|bundle| bundle.trust_domain().as_str()).collect();
        assert_eq!(known, ["agents.internal", "partner.example"]);
        assert_eq!(loaded.crls.len(), 1);
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
