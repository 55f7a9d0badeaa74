//! Why a token enrols nobody.

use countermark_identity::UnixTime;
use countermark_oauth::{JwsFault, SignatureRefusal};

/// Why a token enrols nobody. Holds nothing of the token but what its issuer signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token that its issuer signed, as we read them.
    #[error("the token is refused: {0}")]
    Jws(#[from] JwsFault),
    /// Longer than any good one.
    #[error("the token is refused: it has more than 16 KiB")]
    Long,
    /// A token for something else.
    #[error("the token is refused: its type is not JWT")]
    Type,
    /// A token that is worth something only with the key that it is bound to.
    #[error(
        "the token is refused: it is bound to a key or a certificate (`cnf`), which does not enrol; ask for one that is not"
    )]
    Bound,
    /// Its issuer cannot be asked for its keys.
    #[error("the keys of the token's issuer are not known now; try again")]
    Unavailable,
    /// A claim is missing or of the wrong kind.
    #[error("the token's claim `{name}` is missing or not of its kind")]
    Claim {
        /// Which.
        name: &'static str,
    },
    /// No such issuer is configured.
    #[error("the token's issuer is not one that may enrol here; see [[jwt_issuer]] in the authority's enrol.toml")]
    UnknownIssuer,
    /// For somebody else.
    #[error("the token is not for this audience; ask for one with the audience that enrol.toml names")]
    Audience,
    /// Its time is over.
    #[error("the token expired at {at}; read it anew")]
    Expired {
        /// When.
        at: UnixTime,
    },
    /// Its time has not come.
    #[error("the token is good from {from} on; check the clocks")]
    NotYet {
        /// When.
        from: UnixTime,
    },
    /// No rule of its issuer gives it an identity.
    #[error("no rule of enrol.toml gives `{subject}` an identity")]
    NoRule {
        /// Who the issuer says it is.
        subject: String,
    },
}

impl From<SignatureRefusal> for TokenError {
    fn from(refusal: SignatureRefusal) -> Self {
        match refusal {
            SignatureRefusal::Jws(fault) => Self::Jws(fault),
            SignatureRefusal::Unavailable => Self::Unavailable,
        }
    }
}

impl TokenError {
    /// A word for answers and metrics.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Jws(JwsFault::NoKey | JwsFault::Signature) => "token_signature",
            Self::Jws(_) | Self::Long | Self::Type | Self::Bound | Self::Claim { .. } => "token_malformed",
            Self::UnknownIssuer => "token_issuer",
            Self::Unavailable => "keys_unavailable",
            Self::Audience => "token_audience",
            Self::Expired { .. } | Self::NotYet { .. } => "token_expired",
            Self::NoRule { .. } => "no_rule",
        }
    }
}
