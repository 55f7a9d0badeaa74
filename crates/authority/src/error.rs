//! Why an authority did not do what it was asked to.

use std::{io, path::PathBuf};

use countermark_credential::{BundleError, CrlError as ReadCrlError};
use countermark_identity::{Role, Serial, SpiffeId, TrustDomainError};
use countermark_issue::{CaError, CrlError, CsrError, KeyError, ProfileError, SealError, SignError, SubjectError};

use crate::store::StoreError;

/// Why an authority did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file or directory could not be read or written.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory already holds something.
    #[error("{} is not empty; an authority is made in a new or empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// Another process makes an authority there.
    #[error("another process is making an authority in {}; wait for it, then look with `countermark ca list`", .0.display())]
    Busy(PathBuf),
    /// Another process works in the directory and does not come to an end.
    #[error("another process has held {} for more than {waited:?}; let it finish, or end it, and try again", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
    /// No intermediate has that key id.
    #[error("no intermediate has the key id {0}; `countermark ca list --json` names the issuer of each certificate")]
    UnknownIssuer(String),
    /// The directory holds no authority.
    #[error("{} holds no authority ({missing} is missing); make one with `countermark ca init`", path.display())]
    NotAnAuthority {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
    /// A certificate of the authority cannot be read.
    #[error("{} is not a PEM file with one CA certificate", .0.display())]
    Certificate(PathBuf),
    /// The root does not name a trust domain.
    #[error("{} carries no SPIFFE ID of a trust domain", path.display())]
    TrustDomain {
        /// The root certificate.
        path: PathBuf,
        /// Why not, if it names one at all.
        source: Option<TrustDomainError>,
    },
    /// The key file may be read by everyone.
    #[error("{} can be read by every user (mode {mode:o}); take that away with `chmod o= {}`", path.display(), path.display())]
    WorldReadable {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file cannot be opened with what was given.
    #[error("the key {} cannot be opened: {source}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// Why not.
        source: SealError,
    },
    /// The root's key is elsewhere.
    #[error("the root's key {} is not there; bring it back for as long as the renewal takes", .0.display())]
    RootKeyAbsent(PathBuf),
    /// A CA certificate is not made, or cannot sign.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A new CA key could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key could not be made.
    #[error(transparent)]
    NewKey(#[from] KeyError),
    /// A profile is broken.
    #[error("{}: {source}", path.display())]
    Profile {
        /// The profile's file.
        path: PathBuf,
        /// Where and why.
        source: ProfileError,
    },
    /// No name of a profile.
    #[error(
        "`{0}` names no profile; a profile is a file in the authority's profiles/, named by lower-case letters, digits and -"
    )]
    ProfileName(String),
    /// The identity is of another trust domain.
    #[error("{identity} is not of the trust domain {trust_domain}, for which this authority signs")]
    ForeignIdentity {
        /// Who was asked for.
        identity: SpiffeId,
        /// For whom the authority signs.
        trust_domain: String,
    },
    /// The identity has no role, and so no profile.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The request brings no acceptable key.
    #[error("the certification request is refused: {0}")]
    Csr(#[from] CsrError),
    /// The certificate is not issued.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The CRL is not signed.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The CRL file cannot be read back.
    #[error("{} cannot be read: {source}; write it anew with `countermark ca crl`", path.display())]
    CrlFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadCrlError,
    },
    /// An invite for somebody who must be minted.
    #[error("{0} is not invited: invites are for agents and servers; mint administrators with the directory")]
    NotInvited(SpiffeId),
    /// An invite that would lie around.
    #[error("an invite for {0:?} is too long; a week is the most")]
    InviteTooLong(std::time::Duration),
    /// The generator failed.
    #[error("the operating system gave no randomness")]
    NoRandomness,
    /// The roots and lists make no trust.
    #[error("the authority's own roots and revocation lists cannot be used: {0}")]
    Trust(String),
    /// The trust bundle cannot be made or read back.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No such certificate.
    #[error("the inventory knows no certificate with the serial {0}; `countermark ca list` shows them")]
    UnknownSerial(Serial),
    /// No certificate was ever minted for it.
    #[error("the inventory knows no certificate of {0}; `countermark ca list` shows them")]
    UnknownIdentity(SpiffeId),
    /// The inventory did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A role that a profile of its own does not exist for.
    #[error("the profile for {expected} in {} is for {found}", path.display())]
    ProfileRole {
        /// The profile's file.
        path: PathBuf,
        /// Whose profile it should be.
        expected: Role,
        /// Whose it is.
        found: Role,
    },
}

impl AuthorityError {
    pub(crate) fn io(act: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { act, path: path.into(), source }
    }
}
