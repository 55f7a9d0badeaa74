//! A new authority.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use countermark_credential::Bundle;
use countermark_identity::{Clock, Role, Secret, TrustDomain, UnixTime};
use countermark_issue::{
    CrlPlan, INTERMEDIATE_LIFE, KeyPair, KeyType, Profile, ROOT_LIFE, Signer, seal_key, to_pem, unsealed_pem,
};
use zeroize::Zeroizing;

use crate::{
    authority::{Authority, CRL_LIFE, renew::issuer_record},
    directory::{Directory, Lock, PRIVATE, PUBLIC, create_dir, replace, replace_link, sync_dir},
    error::AuthorityError,
    record::{Act, IssuerKind, Outcome},
    store::{AuditEntry, Change, SqliteStore, Store as _},
};

/// How the CA keys lie in their files.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever makes an authority decides")]
pub enum KeyProtection {
    /// Sealed with PBES2 under this passphrase.
    Passphrase(Secret<Vec<u8>>),
    /// Readable for whoever reads the file.
    Plaintext,
}

impl KeyProtection {
    pub(super) fn pem(&self, key: &KeyPair) -> Result<Zeroizing<String>, AuthorityError> {
        Ok(match self {
            Self::Passphrase(passphrase) => Zeroizing::new(seal_key(key, passphrase.expose())?),
            Self::Plaintext => unsealed_pem(key)?,
        })
    }
}

impl Authority {
    /// Makes an authority in a new or empty directory: root, intermediate, inventory, profiles, trust bundle, CRLs.
    /// It is built aside; the root certificate is put in place last, and without it the directory is no authority.
    pub async fn init(
        directory: impl AsRef<Path>,
        domain: &TrustDomain,
        protection: KeyProtection,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthorityError> {
        let path = directory.as_ref();
        fs::create_dir_all(path).map_err(|error| AuthorityError::io("create", path, error))?;
        let _alone = Lock::directory(path)?;
        let staging = stage(path)?;
        let built = build(&Directory::new(&staging), domain, &protection, clock.now()).await;
        if let Err(error) = built.and_then(|()| settle(path, &staging)) {
            let _the_first_error_counts = fs::remove_dir_all(&staging);
            return Err(error);
        }
        let passphrase = match protection {
            KeyProtection::Passphrase(passphrase) => Some(passphrase),
            KeyProtection::Plaintext => None,
        };
        Self::open(path, passphrase, clock)
    }
}

/// A directory inside the new one (which may be a mount point); what a dead `init` left in it is cleared away.
fn stage(path: &Path) -> Result<PathBuf, AuthorityError> {
    let staging = path.join(STAGING);
    let entries = fs::read_dir(path).map_err(|error| AuthorityError::io("read", path, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| AuthorityError::io("read", path, error))?;
        if entry.file_name() == LOST_AND_FOUND {
            continue;
        }
        if entry.file_name() != STAGING {
            return Err(AuthorityError::NotEmpty(path.to_owned()));
        }
        fs::remove_dir_all(&staging).map_err(|error| AuthorityError::io("clear", &staging, error))?;
    }
    create_dir(&staging, 0o755)?;
    Ok(staging)
}

async fn build(
    directory: &Directory,
    domain: &TrustDomain,
    protection: &KeyProtection,
    now: UnixTime,
) -> Result<(), AuthorityError> {
    let root = Signer::root(domain, KeyPair::generate(KeyType::P256)?, ROOT_LIFE, now)?;
    let key = KeyPair::generate(KeyType::P256)?;
    let intermediate = root.intermediate(domain, key, INTERMEDIATE_LIFE, now)?;
    write_keys(directory, protection, &root, &intermediate)?;

    create_dir(&directory.profiles(), 0o755)?;
    for role in [Role::Agent, Role::Server, Role::Admin] {
        let text = Profile::embedded_text(role);
        replace(&directory.profile(role), text.as_bytes(), PUBLIC)?;
    }
    let bundle = Bundle::new(domain.clone(), vec![root.certificate().clone()])?.with_sequence(1);
    replace(&directory.bundle(domain), bundle.to_pem().as_bytes(), PUBLIC)?;
    // Made here with its mode: SQLite gives its log and index files the same.
    replace(&directory.inventory(), b"", PRIVATE)?;
    replace(&directory.lock(), b"", PRIVATE)?;
    let crls = write_inventory(directory, &root, &intermediate, now).await?;
    replace(&directory.crls(), crls.as_bytes(), PUBLIC)
}

fn write_keys(
    directory: &Directory,
    protection: &KeyProtection,
    root: &Signer,
    intermediate: &Signer,
) -> Result<(), AuthorityError> {
    replace(&directory.root_key(), protection.pem(root.key())?.as_bytes(), PRIVATE)?;
    let certificate = to_pem("CERTIFICATE", root.certificate());
    replace(&directory.root_certificate(), certificate.as_bytes(), PUBLIC)?;
    create_dir(&directory.issuers(), 0o700)?;
    directory.write_issuer(intermediate, protection)?;
    replace_link(&directory.current_issuer(), intermediate.key_id().as_ref())?;
    for file in ["intermediate.crt", "intermediate.key"] {
        let link = directory.path().join(file);
        symlink(Path::new("issuers/current").join(file), &link)
            .map_err(|error| AuthorityError::io("write", &link, error))?;
    }
    Ok(())
}

/// The inventory's first rows, and the first CRL of either CA.
async fn write_inventory(
    directory: &Directory,
    root: &Signer,
    intermediate: &Signer,
    now: UnixTime,
) -> Result<String, AuthorityError> {
    let mut store = SqliteStore::create(&directory.inventory()).await?;
    let lives = [
        (root, IssuerKind::Root, intermediate.not_after()),
        (intermediate, IssuerKind::Intermediate, now.saturating_add(CRL_LIFE)),
    ];
    let mut text = String::new();
    for (signer, kind, next_update) in lives {
        let audit = AuditEntry {
            serial: Some(signer.serial().to_string()),
            detail: Some(format!("{} {}", kind.as_str(), signer.key_id())),
            ..AuditEntry::new(now, Act::Init, Outcome::Done)
        };
        store.add_issuer(&issuer_record(signer, kind), &audit).await?;
        let key_id = signer.key_id();
        let numbers = store.record(Change::Crls, &[], std::slice::from_ref(&key_id)).await?;
        for number in numbers {
            let plan = CrlPlan { number, this_update: now, next_update, revoked: &[] };
            let der = signer.crl(&plan)?.as_ref().to_vec();
            text.push_str(&to_pem("X509 CRL", &der));
            store.signed(None, &[(key_id.clone(), der)]).await?;
        }
    }
    store.close().await?;
    Ok(text)
}

/// Moves everything into place, the root certificate last.
fn settle(path: &Path, staging: &Path) -> Result<(), AuthorityError> {
    let failed = |error| AuthorityError::io("write", path, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(staging).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort_by_key(|name| name == ROOT);
    for name in names {
        if name == ROOT {
            sync_dir(path)?;
        }
        fs::rename(staging.join(&name), path.join(&name)).map_err(failed)?;
    }
    fs::remove_dir(staging).map_err(failed)?;
    sync_dir(path)
}

const STAGING: &str = ".init";
/// What an empty volume holds.
const LOST_AND_FOUND: &str = "lost+found";
const ROOT: &str = "root.crt";
