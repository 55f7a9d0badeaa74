//! The audit trail: what was asked for, and whether it was done.

use std::str::FromStr;

use countermark_identity::UnixTime;
use serde::Serialize;

use super::text;

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Counted from 1, without gaps.
    pub id: i64,
    /// When.
    #[serde(serialize_with = "text")]
    pub at: UnixTime,
    /// What was asked for.
    pub act: Act,
    /// Whether it was done.
    pub outcome: Outcome,
    /// For whom.
    pub identity: Option<String>,
    /// Which certificate.
    pub serial: Option<String>,
    /// What else is to be known: the reason of a refusal or a revocation.
    pub detail: Option<String>,
}

/// What an authority is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a new act must break every match on it")]
pub enum Act {
    /// The authority was made.
    Init,
    /// A certificate was asked for.
    Mint,
    /// A revocation was asked for.
    Revoke,
    /// A CRL was asked for.
    Crl,
    /// A new intermediate was asked for.
    Renew,
    /// A certificate was asked for with an invite.
    Join,
    /// A certificate was asked for with a token of a configured issuer.
    Token,
    /// A certificate was asked for with the current one.
    Reenrol,
    /// A certificate was asked for with one that has expired.
    Revive,
    /// An invite was asked for.
    Invite,
}

impl Act {
    /// As the inventory writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Mint => "mint",
            Self::Revoke => "revoke",
            Self::Crl => "crl",
            Self::Renew => "renew",
            Self::Join => "join",
            Self::Token => "token",
            Self::Reenrol => "reenrol",
            Self::Revive => "revive",
            Self::Invite => "invite",
        }
    }
}

impl FromStr for Act {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        ACTS.into_iter().find(|act| act.as_str() == text).ok_or(())
    }
}

const ACTS: [Act; 10] = [
    Act::Init,
    Act::Mint,
    Act::Revoke,
    Act::Crl,
    Act::Renew,
    Act::Join,
    Act::Token,
    Act::Reenrol,
    Act::Revive,
    Act::Invite,
];

/// Whether an act was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused; the detail says why.
    Refused,
}

impl Outcome {
    /// As the inventory writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}
