//! What the inventory says.

mod audit;

use std::fmt;

use countermark_identity::{Serial, SpiffeId, Thumbprint, UnixTime};
use countermark_issue::RevocationReason;
use serde::{Serialize, Serializer};

pub use self::audit::{Act, AuditRecord, Outcome};

/// One certificate of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CertificateRecord {
    /// Its serial.
    #[serde(serialize_with = "text")]
    pub serial: Serial,
    /// Who it speaks for.
    #[serde(serialize_with = "text")]
    pub identity: SpiffeId,
    /// The key id of the CA that signed it.
    pub issuer: String,
    /// The profile by name; its role's own where absent.
    pub profile: Option<String>,
    /// When it was minted.
    #[serde(serialize_with = "text")]
    pub issued_at: UnixTime,
    /// When it begins.
    #[serde(serialize_with = "text")]
    pub not_before: UnixTime,
    /// When it ends.
    #[serde(serialize_with = "text")]
    pub not_after: UnixTime,
    /// SHA-256 of the certificate; absent where the authority died between record and signature.
    #[serde(serialize_with = "optional_text")]
    pub thumbprint: Option<Thumbprint>,
    /// Since when it is revoked.
    #[serde(serialize_with = "optional_text")]
    pub revoked_at: Option<UnixTime>,
    /// Why it is revoked.
    #[serde(serialize_with = "optional_text")]
    pub reason: Option<RevocationReason>,
}

impl CertificateRecord {
    /// What the certificate is good for at `now`.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if now > self.not_after {
            State::Expired
        } else {
            State::Live
        }
    }
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a certificate is one of these")]
pub enum State {
    /// Neither expired nor revoked.
    Live,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// Which certificates are asked for; every condition must hold.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct Filter {
    /// This one.
    pub serial: Option<Serial>,
    /// Those of this identity and of its sub-agents.
    pub identity: Option<SpiffeId>,
    /// Those that have not ended by this time.
    pub alive_at: Option<UnixTime>,
    /// Those that are not revoked.
    pub unrevoked: bool,
    /// Those that have ended by this time.
    pub ended_at: Option<UnixTime>,
    /// Those that are revoked.
    pub revoked: bool,
    /// Those that follow this one in the order of the list.
    pub after: Option<Serial>,
    /// So many at most.
    pub limit: Option<u32>,
}

/// One line of a list of certificates, as JSON has it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CertificateRow<'a> {
    /// What it is good for.
    pub state: State,
    /// Who it speaks for.
    pub spiffe_id: &'a str,
    /// Agent, server or admin.
    pub role: &'static str,
    /// Everything else.
    #[serde(flatten)]
    pub record: &'a CertificateRecord,
}

impl CertificateRecord {
    /// The record as one line of a list.
    #[must_use]
    pub fn row(&self, now: UnixTime) -> CertificateRow<'_> {
        let role = self.identity.role().map_or("", |(role, _)| role.as_str());
        CertificateRow { state: self.state(now), spiffe_id: self.identity.as_str(), role, record: self }
    }
}

/// One CA key of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores fill it in")]
pub struct IssuerRecord {
    /// Eight hex digits that stand in the CA's subject.
    pub key_id: String,
    /// Root or intermediate.
    pub kind: IssuerKind,
    /// The CA certificate, DER.
    pub certificate: Vec<u8>,
    /// When it begins.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
    /// Its newest CRL, DER.
    pub crl: Option<Vec<u8>>,
    /// Since when and why it is revoked, if it is.
    pub revoked: Option<(UnixTime, RevocationReason)>,
}

/// What a CA key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum IssuerKind {
    /// Signs intermediates; its key may be offline.
    Root,
    /// Signs leaves.
    Intermediate,
}

impl IssuerKind {
    /// As the inventory writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
        }
    }
}

pub(crate) fn text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn optional_text<T: Textual, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&value.to_text()),
        None => serializer.serialize_none(),
    }
}

/// How a value is written in JSON.
pub(crate) trait Textual {
    fn to_text(&self) -> String;
}

impl Textual for UnixTime {
    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Textual for RevocationReason {
    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Textual for Thumbprint {
    fn to_text(&self) -> String {
        self.to_hex()
    }
}
