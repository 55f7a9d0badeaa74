//! Loading a credential, and refusing a key that the world can read.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countermark_identity::{Leaf, Secret, UnixTime};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::error::LoadError;
use super::names::{CREDENTIAL_BUNDLE, CURRENT, GENERATIONS, KUBERNETES_DATA, TLS_CRT, TLS_KEY};
use super::switch::Switch;
use super::trust::{self, LoadedTrust};
use super::{DomainCrls, Generation};
use crate::bundle::Bundle;
use crate::credential::{Credential, CredentialError};

/// What a directory holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The credential.
    pub credential: Arc<Credential>,
    /// The trust bundles.
    pub bundles: Vec<Bundle>,
    /// The revocation lists.
    pub crls: Vec<DomainCrls>,
    /// The generation; none when the directory was not written by [`deliver`](super::deliver).
    pub generation: Option<Generation>,
}

/// Loads a directory whose credential must hold at `now`.
///
/// Understands what [`deliver`](super::deliver) writes, Kubernetes volumes (`..data`), and plain directories with
/// `credential-bundle.pem` or `tls.key` and `tls.crt`. The trust material comes from `trust/current`, or stands beside the credential.
pub fn load(dir: &Path, now: UnixTime) -> Result<Loaded, LoadError> {
    let held = read_valid(dir, now)?;
    let LoadedTrust { bundles, crls } = trust::load_trust(dir)?;
    Ok(Loaded { credential: held.credential, bundles, crls, generation: held.generation })
}

/// Reads the credential of a directory, which must hold at `now`.
pub(crate) fn read_valid(dir: &Path, now: UnixTime) -> Result<Held, LoadError> {
    let held = read(dir)?;
    let not_after = held.credential.leaf().not_after();
    if now > not_after {
        return Err(LoadError::Expired { path: held.path, not_after, now });
    }
    Ok(held)
}

/// The credential of a directory as it stands, expired or not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Held {
    /// The credential.
    pub credential: Arc<Credential>,
    /// The generation; none when the directory was not written by [`deliver`](super::deliver).
    pub generation: Option<Generation>,
    /// The file that the credential was read from.
    pub path: PathBuf,
}

/// Reads the credential of a directory, expired or not, and nothing else.
pub fn read(dir: &Path) -> Result<Held, LoadError> {
    let generation = Switch::new(dir, GENERATIONS).current();
    // Resolved once: everything below is read from one generation, whatever `current` leads to meanwhile.
    let base = match generation {
        Some(number) => Switch::new(dir, GENERATIONS).path(number),
        None => resolve(dir)?,
    };
    let bundle = base.join(CREDENTIAL_BUNDLE);
    let (path, credential) = if exists(&bundle)? {
        let text = read_key(&bundle)?;
        let credential = Credential::from_pem(text.expose());
        (bundle, credential)
    } else if exists(&base.join(TLS_KEY))? || exists(&base.join(TLS_CRT))? {
        let (key, chain) = (read_key(&base.join(TLS_KEY))?, read_file(&base.join(TLS_CRT), MAX_CREDENTIAL)?);
        let text = Secret::new([key.expose(), &b"\n"[..], &chain].concat());
        (base.join(TLS_KEY), Credential::from_pem(text.expose()))
    } else {
        return Err(LoadError::NoCredential { dir: dir.to_owned() });
    };
    let credential =
        credential.map_err(|source: CredentialError| LoadError::Credential { path: path.clone(), source })?;
    Ok(Held { credential: Arc::new(credential), generation: generation.map(Generation), path })
}

/// The number of the generation that a directory leads to, whatever is in it.
#[must_use]
pub fn current_generation(dir: &Path) -> Option<u64> {
    Switch::new(dir, GENERATIONS).current()
}

/// The directory that counts where it is not one of our generations.
pub(super) fn resolve(dir: &Path) -> Result<PathBuf, LoadError> {
    for link in [CURRENT, KUBERNETES_DATA] {
        let path = dir.join(link);
        match fs::canonicalize(&path) {
            Ok(target) => return Ok(target),
            // A link that leads nowhere is a fault, not a plain directory.
            Err(source) if path.is_symlink() => return Err(LoadError::Io { path, source }),
            Err(_) => {}
        }
    }
    Ok(dir.to_owned())
}

/// Reads a file with a private key, unless others can read or write it.
fn read_key(path: &Path) -> Result<Secret<Vec<u8>>, LoadError> {
    let file = File::open(path).map_err(LoadError::io(path))?;
    let mode = file.metadata().map_err(LoadError::io(path))?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(LoadError::KeyExposed { path: path.to_owned(), mode });
    }
    read_open(file, path, MAX_CREDENTIAL).map(Secret::new)
}

pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    read_open(File::open(path).map_err(LoadError::io(path))?, path, limit)
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let mut content = Vec::with_capacity(16 * 1024);
    file.take(limit + 1).read_to_end(&mut content).map_err(LoadError::io(path))?;
    if content.len() as u64 > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(content)
}

fn exists(path: &Path) -> Result<bool, LoadError> {
    path.try_exists().map_err(LoadError::io(path))
}

/// The leaf of a chain file, to see when it ends or whose it is.
pub(super) fn leaf_of(path: &Path) -> Option<Leaf> {
    let text = read_file(path, MAX_CREDENTIAL).ok()?;
    let certificate = CertificateDer::from_pem_slice(&text).ok()?;
    Leaf::parse(&certificate).ok()
}

const MAX_CREDENTIAL: u64 = 1024 * 1024;
