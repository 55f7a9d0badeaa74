//! What the tests share: a small authority, and OpenSSL as a second opinion.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use countermark_identity::{SpiffeId, TrustDomain, UnixTime};

use crate::{INTERMEDIATE_LIFE, KeyPair, KeyType, LeafRequest, Profile, PublicKey, ROOT_LIFE, SignError, Signer};

/// 2026-11-23T07:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_795_417_200);

pub(crate) fn domain() -> TrustDomain {
    "agents.internal".parse().unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://agents.internal/{path}").parse().unwrap()
}

pub(crate) fn root() -> Signer {
    Signer::root(&domain(), KeyPair::generate(KeyType::P256).unwrap(), ROOT_LIFE, NOW).unwrap()
}

/// A root and its intermediate.
pub(crate) fn chain() -> (Signer, Signer) {
    let root = root();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let intermediate = root.intermediate(&domain(), key, INTERMEDIATE_LIFE, NOW).unwrap();
    (root, intermediate)
}

/// A leaf for `path` with the profile of its role, otherwise as `request` says.
pub(crate) fn leaf(signer: &Signer, path: &str, key: &PublicKey, ttl: Option<Duration>) -> Result<Vec<u8>, SignError> {
    let identity = id(path);
    let profile = Profile::embedded(identity.role().unwrap().0).unwrap();
    let request = LeafRequest { identity: &identity, public_key: key, ttl, dns: &[], ip: &[] };
    let plan = signer.plan(&profile, &request, NOW)?;
    Ok(signer.sign(&plan)?.to_vec())
}

/// A directory for OpenSSL to work in.
pub(crate) struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` with the words of `command`; `Ok` and `Err` hold everything that it said.
    pub(crate) fn try_run(&self, command: &str) -> Result<String, String> {
        self.try_words(&command.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn try_words(&self, words: &[&str]) -> Result<String, String> {
        let output = Command::new("openssl").args(words).current_dir(self.0.path()).output().expect("openssl runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    pub(crate) fn run(&self, command: &str) -> String {
        self.try_run(command).unwrap_or_else(|said| panic!("openssl {command}: {said}"))
    }
}
