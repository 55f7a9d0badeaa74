//! The files of an authority: names, modes, and how they are written.

mod lock;
mod write;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use countermark_identity::{Role, TrustDomain};
use countermark_issue::{KeyPair, SealError, open_key};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

pub(crate) use self::{
    lock::Lock,
    write::{PRIVATE, PUBLIC, create_dir, replace, replace_link, sync_dir},
};
use crate::error::AuthorityError;

/// Where an authority keeps what.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.0.join("root.crt")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    /// Every intermediate in a directory of its own, so that key and certificate change in one rename of `current`.
    pub(crate) fn issuers(&self) -> PathBuf {
        self.0.join("issuers")
    }

    pub(crate) fn issuer(&self, key_id: &str) -> PathBuf {
        self.issuers().join(key_id)
    }

    pub(crate) fn current_issuer(&self) -> PathBuf {
        self.issuers().join("current")
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.0.join("inventory.sqlite")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("inventory.lock")
    }

    pub(crate) fn crls(&self) -> PathBuf {
        self.0.join("crl.pem")
    }

    pub(crate) fn bundle(&self, domain: &TrustDomain) -> PathBuf {
        self.0.join(format!("{domain}.trust-bundle.pem"))
    }

    pub(crate) fn profiles(&self) -> PathBuf {
        self.0.join("profiles")
    }

    pub(crate) fn profile(&self, role: Role) -> PathBuf {
        self.profiles().join(format!("{role}.toml"))
    }

    pub(crate) fn named_profile(&self, name: &str) -> PathBuf {
        self.profiles().join(format!("{name}.toml"))
    }

    /// The key id of the intermediate that signs.
    pub(crate) fn current_key_id(&self) -> Result<String, AuthorityError> {
        let link = self.current_issuer();
        let target = fs::read_link(&link).map_err(|error| AuthorityError::io("read", &link, error))?;
        target
            .file_name()
            .and_then(|name| name.to_str())
            .map(ToOwned::to_owned)
            .ok_or_else(|| AuthorityError::NotAnAuthority { path: self.0.clone(), missing: "issuers/current" })
    }
}

/// The file's bytes; `missing` says what it is where it is not there.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    fs::read(path).map_err(|error| AuthorityError::io("read", path, error))
}

/// The one certificate of a PEM file.
pub(crate) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    let pem = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&pem);
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        _ => Err(AuthorityError::Certificate(path.to_owned())),
    }
}

/// A key file, opened; one that the world can read is refused.
pub(crate) fn read_key(path: &Path, passphrase: Option<&[u8]>) -> Result<KeyPair, AuthorityError> {
    let metadata = fs::metadata(path).map_err(|error| AuthorityError::io("read", path, error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(AuthorityError::WorldReadable { path: path.to_owned(), mode });
    }
    let pem = Zeroizing::new(read(path)?);
    open_key(&pem, || passphrase.map(|passphrase| Zeroizing::new(passphrase.to_vec())))
        .map_err(|source| AuthorityError::Key { path: path.to_owned(), source })
}

/// Whether a key file is there and needs a passphrase.
pub(crate) fn is_sealed(path: &Path) -> Result<bool, AuthorityError> {
    let pem = match fs::read(path) {
        Ok(pem) => Zeroizing::new(pem),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(AuthorityError::io("read", path, error)),
    };
    match open_key(&pem, || None) {
        Err(SealError::PassphraseNeeded) => Ok(true),
        Ok(_) => Ok(false),
        Err(source) => Err(AuthorityError::Key { path: path.to_owned(), source }),
    }
}
