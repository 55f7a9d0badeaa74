//! Why a token does not count.

use countermark_identity::UnixTime;

use crate::bearer::BearerFault;
use crate::jose::JwsFault;

/// Why a token does not count. Holds nothing of a token but names that its issuer signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The chain of actors is longer than is allowed.
    #[error("the token was passed on by more than {limit} actors")]
    Actors {
        /// How many are allowed.
        limit: usize,
    },
    /// The caller is not who the token's client may be.
    #[error("the client `{client}` of {issuer} may not be this agent; add a [[client]] with the two")]
    Agent {
        /// The issuer.
        issuer: String,
        /// The client, in the issuer's words.
        client: String,
    },
    /// The token is for somebody else.
    #[error("the token's audience is another server; ask for one with resource = {wanted}")]
    Audience {
        /// What would have been right.
        wanted: String,
    },
    /// The header is not one bearer token.
    #[error(transparent)]
    Bearer(#[from] BearerFault),
    /// `cnf` is there and is not a thumbprint.
    #[error("the token's binding cannot be read: {0}")]
    Binding(&'static str),
    /// A claim is missing or of the wrong kind.
    #[error("the token's claim `{0}` is missing or not of its kind")]
    Claim(&'static str),
    /// The token's end has come.
    #[error("the token has expired at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
    /// The issuer says that it is not, or no longer, good.
    #[error("the token's issuer says that it is not active")]
    Inactive,
    /// No such issuer is configured.
    #[error("the token's issuer is none of those that are configured")]
    Issuer,
    /// Not a token that its issuer signed.
    #[error("the token is refused: {0}")]
    Jws(#[from] JwsFault),
    /// A token lives longer than is allowed.
    #[error("the token lives longer than is allowed")]
    Life,
    /// The token is bound to another certificate.
    #[error("the token is bound to another certificate than the caller's")]
    Mismatch,
    /// There is no token, and there must be one.
    #[error("a token is required")]
    Missing,
    /// The token is from the future.
    #[error("the token is not good before {from}; compare the clocks")]
    NotYet {
        /// From when it is.
        from: UnixTime,
    },
    /// A token of another purpose.
    #[error("it is not an access token but one of another kind")]
    Type,
    /// The token is bound to nothing.
    #[error("the token is bound to no certificate (no cnf.x5t#S256), so that whoever steals it could use it")]
    Unbound,
    /// The issuer's keys, or its answer, cannot be had.
    #[error("the token cannot be verified now: its issuer's {0} cannot be had")]
    Unavailable(&'static str),
    /// A token came although none is wanted.
    #[error("this server takes no tokens")]
    Unwanted,
}

impl TokenRefusal {
    /// Whether waiting could help: nothing is known against the token.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The `error` of the challenge: `None` where no credentials were sent
    /// ([RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)).
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Bearer(_) | Self::Unwanted => Some("invalid_request"),
            _ => Some("invalid_token"),
        }
    }
}
