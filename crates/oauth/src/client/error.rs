//! Why there is no token.

use std::time::Duration;

use crate::http::HttpError;
use crate::metadata::DiscoveryError;

use super::token::Misbound;

/// Why there is no token. Never holds an answer's body, nor what a server says in prose.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Who we are, or where to ask, is not known.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Nobody answered.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is no token.
    #[error("the answer of {issuer} is no token response (RFC 6749 §5.1): {what}")]
    Malformed {
        /// Who answered.
        issuer: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The token is not ours.
    #[error(transparent)]
    Misbound(#[from] Misbound),
    /// More questions than are kept.
    #[error("more than {limit} different tokens are asked for")]
    Questions {
        /// How many are kept.
        limit: usize,
    },
    /// The process is ending.
    #[error("the runtime ends, so that no token is asked for any more")]
    Stopped,
    /// The server takes longer than it is waited for.
    #[error("{issuer} has not answered within {patience:?}")]
    Slow {
        /// Who was asked.
        issuer: String,
        /// How long was waited.
        patience: Duration,
    },
    /// The server says no.
    #[error("{issuer} gives no token: {code}; {remedy}")]
    Refused {
        /// Who answered.
        issuer: String,
        /// Its `error` ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
        code: String,
        /// What to look at.
        remedy: &'static str,
    },
}

impl TokenError {
    /// A refusal with the server's code, if that is one.
    pub(super) fn refused(issuer: &str, code: &str) -> Self {
        let known = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let code = if known { code } else { "an error that is none of OAuth's" };
        let remedy = match code {
            "invalid_client" => {
                "compare the client's id and its registered certificate subject, key or secret with what is presented"
            }
            "invalid_scope" => "one of the scopes is not this client's",
            "invalid_target" => "the server does not know the resource",
            "unauthorized_client" => "the client may not use this grant",
            "unsupported_grant_type" => "the server does not offer this grant",
            _ => "see the server's log",
        };
        Self::Refused { issuer: issuer.to_owned(), code: code.to_owned(), remedy }
    }
}
