//! The inventory's seam: SQLite behind it today.

mod row;
mod sqlite;
mod write;

use std::{fmt, future::Future, net::IpAddr, path::PathBuf, pin::Pin};

use countermark_identity::{Serial, SpiffeId, UnixTime};
use countermark_issue::{RevocationReason, Revoked};

pub use self::write::{InviteRecord, StoredLeaf, Write, Written};
pub(crate) use self::{sqlite::SqliteStore, write::sha256_hex};
use crate::record::{Act, AuditRecord, CertificateRecord, Filter, IssuerRecord, Outcome};

/// Where an authority writes what it does. Every method is one transaction that is durable when it returns.
pub trait Store: Send + fmt::Debug {
    /// Every CA key, the newest first.
    fn issuers(&mut self) -> StoreFuture<'_, Vec<IssuerRecord>>;

    /// The ids of intermediates under which a certificate still lives at `now`.
    fn living_issuers(&mut self, now: UnixTime) -> StoreFuture<'_, Vec<String>>;

    /// A new CA key.
    fn add_issuer<'a>(&'a mut self, issuer: &'a IssuerRecord, audit: &'a AuditEntry) -> StoreFuture<'a, ()>;

    /// Writes down what is about to be signed; answers the CRL numbers of `issuers`, each used for the first time.
    fn record<'a>(
        &'a mut self,
        change: Change<'a>,
        audit: &'a [AuditEntry],
        issuers: &'a [String],
    ) -> StoreFuture<'a, Vec<u64>>;

    /// Keeps what has been signed.
    fn signed<'a>(
        &'a mut self,
        leaf: Option<(&'a Serial, &'a [u8])>,
        crls: &'a [(String, Vec<u8>)],
    ) -> StoreFuture<'a, ()>;

    /// The revoked certificates of a CA key that end at `since` or later, in the order of their serials.
    fn revoked<'a>(&'a mut self, issuer: &'a str, since: UnixTime) -> StoreFuture<'a, Vec<Revoked>>;

    /// The certificates that pass `filter`, the newest first.
    fn certificates<'a>(&'a mut self, filter: &'a Filter) -> StoreFuture<'a, Vec<CertificateRecord>>;

    /// Does all of these in one transaction and says of each, in their order, what became of it.
    fn commit<'a>(&'a mut self, writes: &'a [Write]) -> StoreFuture<'a, Vec<Written>>;

    /// The certificates of these serials with what a renewal repeats, in any order; those that are unknown are left out.
    fn leaves<'a>(&'a mut self, serials: &'a [Serial]) -> StoreFuture<'a, Vec<StoredLeaf>>;

    /// The invite whose secret has this SHA-256.
    fn invite<'a>(&'a mut self, secret_sha256: &'a str) -> StoreFuture<'a, Option<InviteRecord>>;

    /// A line of the audit trail that goes with no change.
    fn audit<'a>(&'a mut self, entry: &'a AuditEntry) -> StoreFuture<'a, ()>;

    /// The newest `limit` lines of the audit trail, the newest first.
    fn audit_trail(&mut self, limit: u32) -> StoreFuture<'_, Vec<AuditRecord>>;
}

/// What a [`Store`] answers, once it does.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What is about to be signed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new change must break every store")]
pub enum Change<'a> {
    /// A certificate.
    Mint(&'a Reservation),
    /// Certificates that are revoked from now on; those that already are keep their date and reason.
    Revoke {
        /// Which.
        serials: &'a [Serial],
        /// Everything of this identity and of its sub-agents that lives by then, too, open invites included.
        identity: Option<&'a SpiffeId>,
        /// Since when.
        at: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
    /// An intermediate that is revoked from now on, with everything that it signed and that lives, or has ended since.
    RevokeIssuer {
        /// Which.
        key_id: &'a str,
        /// Since when.
        at: UnixTime,
        /// What ended before then is left alone.
        since: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
    /// Nothing but CRLs.
    Crls,
}

/// A certificate before it is signed.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores read every field")]
pub struct Reservation {
    /// The serial that it will have.
    pub serial: Serial,
    /// The key id of the CA that will sign it.
    pub issuer: String,
    /// Who it will speak for.
    pub identity: SpiffeId,
    /// When it was decided.
    pub issued_at: UnixTime,
    /// When it will begin.
    pub not_before: UnixTime,
    /// When it will end.
    pub not_after: UnixTime,
    /// SHA-256 of the certified SubjectPublicKeyInfo, in hex.
    pub spki_sha256: String,
    /// The profile by name; its role's own where absent.
    pub profile: Option<String>,
    /// DNS names beside those of the profile.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
}

/// A line for the audit trail.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores read every field")]
pub struct AuditEntry {
    /// When.
    pub at: UnixTime,
    /// What was asked for.
    pub act: Act,
    /// Whether it is done.
    pub outcome: Outcome,
    /// For whom.
    pub identity: Option<String>,
    /// Which certificate.
    pub serial: Option<String>,
    /// What else is to be known.
    pub detail: Option<String>,
}

impl AuditEntry {
    /// A line that names neither identity nor serial.
    #[must_use]
    pub const fn new(at: UnixTime, act: Act, outcome: Outcome) -> Self {
        Self { at, act, outcome, identity: None, serial: None, detail: None }
    }
}

/// Why the inventory did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("the inventory {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: sqlx::Error,
    },
    /// Written by a newer version of this program.
    #[error("the inventory {} is of version {found}, and this program knows {known}; use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database does not keep what it is told durably.
    #[error(
        "the inventory runs with journal_mode {journal} and synchronous {synchronous}; wal and 2 (FULL) are needed"
    )]
    NotDurable {
        /// What SQLite says.
        journal: String,
        /// What SQLite says.
        synchronous: i64,
    },
    /// A row that this program did not write.
    #[error("the inventory holds {0}, which cannot be read; restore it from a backup")]
    Corrupt(&'static str),
    /// The database refused.
    #[error("the inventory refused")]
    Database(#[from] sqlx::Error),
}
