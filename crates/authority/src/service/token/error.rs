//! Why a token enrols nobody.

use countermark_identity::UnixTime;

/// Why a token enrols nobody. Holds nothing of the token but what its issuer signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token as we read them.
    #[error("the token is refused: {0}")]
    Malformed(&'static str),
    /// A claim is missing or of the wrong kind.
    #[error("the token's claim `{name}` is missing or not of its kind")]
    Claim {
        /// Which.
        name: &'static str,
    },
    /// No such issuer is configured.
    #[error("the token's issuer is not one that may enrol here; see [[jwt_issuer]] in the authority's enrol.toml")]
    UnknownIssuer,
    /// No key of the issuer fits.
    #[error("the issuer has no one key that the token's algorithm and key id stand for; renew its JWKS file")]
    NoKey,
    /// Another key, or changed since.
    #[error("the token's signature does not verify under its issuer's key")]
    Signature,
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

impl TokenError {
    /// A word for answers and metrics.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Claim { .. } => "token_malformed",
            Self::UnknownIssuer => "token_issuer",
            Self::NoKey | Self::Signature => "token_signature",
            Self::Audience => "token_audience",
            Self::Expired { .. } | Self::NotYet { .. } => "token_expired",
            Self::NoRule { .. } => "no_rule",
        }
    }
}
