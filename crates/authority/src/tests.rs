//! The promises of an authority, on a mock clock, with OpenSSL and our own verifier as judges.

mod files;
mod inventory;
mod mint;
mod renewal;
mod revocation;

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countermark_credential::{ChainError, DomainTrust, Revocation, Trust};
use countermark_identity::{Clock, Leaf, Secret, SpiffeId, TrustDomain, UnixTime, Usage};
use countermark_issue::{KeyPair, KeyType};
use rustls_pki_types::CertificateDer;

use crate::{Authority, Issued, KeyProtection, MintRequest, SubjectKey};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// 2026-11-23T07:00:00Z.
pub(crate) const START: UnixTime = UnixTime::from_secs(1_795_417_200);

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START.as_secs())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A plaintext authority in a directory of its own, and the hand of its clock.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub(crate) clock: Arc<Hand>,
    pub(crate) authority: Authority,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Hand::new();
        let path = directory.path().join("ca");
        let authority = Authority::init(&path, &domain(), KeyProtection::Plaintext, clock.clone()).await.unwrap();
        Self { directory, clock, authority }
    }

    pub(crate) fn path(&self) -> &Path {
        self.authority.path()
    }

    pub(crate) fn reopen(&self) -> Authority {
        Authority::open(self.path(), None, self.clock.clone()).unwrap()
    }

    async fn mint(&self, path: &str) -> Issued {
        self.authority.mint(&request(path)).await.unwrap()
    }

    /// Whether our own verifier believes the chain now, by the files that the authority wrote.
    fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<(), ChainError> {
        let trust = Trust::new(vec![DomainTrust {
            bundle: self.authority.bundle().unwrap(),
            crls: self.authority.crls().unwrap().into_iter().map(Arc::new).collect(),
            revocation: Revocation::Required,
        }])
        .unwrap();
        let leaf = Leaf::parse(&chain[0]).unwrap();
        trust.verify(chain, &leaf, &domain(), Usage::Client, self.clock.now()).map(drop)
    }

    /// The numbers of the CRLs in the file, in its order.
    fn numbers(&self) -> Vec<String> {
        self.authority.crls().unwrap().iter().map(|crl| crl.number().unwrap().to_string()).collect()
    }
}

pub(crate) fn domain() -> TrustDomain {
    "agents.internal".parse().unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://agents.internal/{path}").parse().unwrap()
}

pub(crate) fn request(path: &str) -> MintRequest {
    let key = KeyPair::generate(KeyType::P256).unwrap();
    MintRequest {
        identity: id(path),
        subject_key: SubjectKey::Public(key.public_key().clone()),
        ttl: None,
        dns: Vec::new(),
        ip: Vec::new(),
    }
}

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

/// Runs `openssl` in `directory`.
pub(crate) fn openssl(directory: &Path, command: &str) -> Result<String, String> {
    let words = command.split_whitespace();
    let output = Command::new("openssl").args(words).current_dir(directory).output().expect("openssl runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}
