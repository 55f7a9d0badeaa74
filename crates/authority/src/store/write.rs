//! What a service writes: many changes in one transaction.

use std::{net::IpAddr, time::Duration};

use countermark_identity::{Serial, SpiffeId, Thumbprint, UnixTime};

use crate::{
    record::CertificateRecord,
    store::{AuditEntry, Reservation},
};

/// One change of many that share a transaction.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new change must break every store")]
pub enum Write {
    /// A certificate is about to be signed, if the one that it follows is not revoked by then.
    Reserve {
        /// What is about to be signed.
        reservation: Box<Reservation>,
        /// What it follows; nothing where it is the first.
        after: Option<Serial>,
        /// What is written down if it is.
        audit: AuditEntry,
    },
    /// A certificate is about to be signed for whoever redeems an invite, if nobody else has.
    Redeem {
        /// SHA-256 of the invite's secret, in hex.
        secret_sha256: String,
        /// When.
        at: UnixTime,
        /// What is about to be signed.
        reservation: Box<Reservation>,
        /// What is written down if it is.
        audit: AuditEntry,
    },
    /// A certificate has been signed.
    Keep {
        /// Its serial.
        serial: Serial,
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// A new invite.
    Invite(Box<InviteRecord>, AuditEntry),
    /// A line of the audit trail.
    Audit(AuditEntry),
    /// Nothing, durably: whether the inventory can be written at all.
    Trial,
}

/// What became of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever writes must know about every outcome")]
pub enum Written {
    /// It is done.
    Done,
    /// What it follows is revoked: nothing was written for this one.
    Revoked,
    /// The invite is unknown, has expired, or somebody has redeemed it: nothing was written for this one.
    Spent,
}

/// A one-time secret, as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores fill it in")]
pub struct InviteRecord {
    /// Its name in the audit trail.
    pub id: String,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
    /// Who the certificate will speak for.
    pub identity: SpiffeId,
    /// The profile by name; the role's own where absent.
    pub profile: Option<String>,
    /// DNS names beside those of the profile.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
    /// How long the certificate will live; the profile's default where absent.
    pub ttl: Option<Duration>,
    /// When it was made.
    pub created_at: UnixTime,
    /// By whom.
    pub created_by: String,
    /// Until when it can be redeemed.
    pub expires_at: UnixTime,
    /// When it was redeemed.
    pub used_at: Option<UnixTime>,
    /// SHA-256 of the key that has redeemed it, in hex.
    pub spki_sha256: Option<String>,
    /// The certificate that it got.
    pub serial: Option<Serial>,
}

/// A certificate with what a renewal repeats.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores fill it in")]
pub struct StoredLeaf {
    /// What the inventory says.
    pub record: CertificateRecord,
    /// The certificate, DER; absent where the authority died between record and signature.
    pub certificate: Option<Vec<u8>>,
    /// SHA-256 of its key, in hex.
    pub spki_sha256: String,
    /// The names beside those of the profile; absent where an older program wrote the row.
    pub names: Option<(Vec<String>, Vec<IpAddr>)>,
}

impl StoredLeaf {
    /// How long the certificate was to live.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.record.not_after.duration_since(self.record.issued_at)
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Thumbprint::of(bytes).to_hex()
}
