//! What can go wrong with the files, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use countermark_identity::{TrustDomain, UnixTime};

use crate::bundle::BundleError;
use crate::credential::CredentialError;
use crate::crl::CrlError;

/// Why a delivery did not happen. What was there before is untouched and still counts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// Another process delivers to the same directory.
    #[error("another process is writing to {}; try again when it is done", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could lead the delivery astray.
    #[error("{} is no place for a credential: {why}", path.display())]
    Unsafe {
        /// Which file or directory.
        path: PathBuf,
        /// What is wrong with it, and what mends it.
        why: &'static str,
    },
    /// The trust bundle of the credential's own trust domain is missing.
    #[error("the delivery has no trust bundle for {trust_domain}, the credential's own trust domain")]
    NoOwnBundle {
        /// Which.
        trust_domain: TrustDomain,
    },
    /// The leaf carries no SPIFFE ID, and nobody says by whose roots it is known.
    #[error("the credential has no SPIFFE ID, so that nothing says by whose roots it is known")]
    NoSpiffeId,
    /// The directory belongs to another identity.
    #[error("{} holds the credential of {found}, not of {wanted}; deliver to another directory", dir.display())]
    OtherIdentity {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose credential was to be delivered.
        wanted: String,
    },
    /// The trust material of others cannot be read, so that nothing says who of them stays.
    #[error("the trust material of other trust domains cannot be read: {source}")]
    Partners {
        /// Why.
        source: Box<LoadError>,
    },
    /// The credential that is there cannot be read, so that nothing says whose it is.
    #[error("{} holds a credential that cannot be read ({source}); move the directory away, or deliver to another", dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// Why it cannot be read.
        source: Box<LoadError>,
    },
}

impl DeliveryError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a directory gives no credential or no trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A trust bundle is broken.
    #[error("{}: {source}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// The key, or the chain, is broken, or they do not belong together.
    #[error("{}: {source}", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CredentialError,
    },
    /// A revocation list is broken.
    #[error("{}: {source}", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CrlError,
    },
    /// The certificate has expired.
    #[error("{}: the certificate expired at {not_after}, it is {now}; `countermark mint` into this directory makes the next generation", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When it ended.
        not_after: UnixTime,
        /// When it was looked at.
        now: UnixTime,
    },
    /// A name before a suffix of ours is no trust domain.
    #[error("{}: what stands before the suffix is not a trust domain", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody can read the private key.
    #[error("{}: its mode is {mode:04o}, so that every user of the machine can read or write the private key; `chmod 0600 {}`, and replace the key if others could have read it", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no credential.
    #[error("{} holds neither credential-bundle.pem nor tls.key and tls.crt; `countermark mint … --out {}` makes them", dir.display(), dir.display())]
    NoCredential {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no trust bundle.
    #[error("{} holds no <trust-domain>.trust-bundle.pem, so that nobody can be believed", dir.display())]
    NoTrust {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory of the trust material was removed, and what was in it is withdrawn.
    #[error("{} is gone, and with it all that was in it; put the roots, and the lists if there are any, as files into a new one", path.display())]
    TrustGone {
        /// Where it was.
        path: PathBuf,
    },
    /// A file is larger than any of its kind may be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
}

impl LoadError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What to do about an error of the file system, where one can know.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space, what was there before still counts",
        io::ErrorKind::ReadOnlyFilesystem => "; the file system is mounted read-only",
        io::ErrorKind::PermissionDenied => "; run as the owner of the directory, or change its owner or mode",
        io::ErrorKind::NotFound => "; does the path exist?",
        _ => "",
    }
}
