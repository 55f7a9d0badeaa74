//! Why a text is not a message.

use http::StatusCode;
use thiserror::Error;

/// Why a body is refused before anything of it is judged. Offsets are bytes; no text of the peer is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseRefusal {
    /// More bytes than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Begins with a byte order mark.
    #[error("the body begins with a byte order mark; send plain UTF-8")]
    ByteOrderMark,
    /// Not UTF-8.
    #[error("the body is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// Not JSON.
    #[error("the body is not JSON: expected {expected} at byte {offset}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Nested too deep.
    #[error("the body nests deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Something follows the value.
    #[error("the body goes on after the message ends, at byte {offset}")]
    TrailingBytes {
        /// Where.
        offset: usize,
    },
    /// One object has one key twice.
    #[error("a key stands twice in one object, at byte {offset}")]
    DuplicateKey {
        /// Where the second stands.
        offset: usize,
    },
    /// A key contains NUL.
    #[error("a key contains NUL, at byte {offset}")]
    NulInKey {
        /// Where.
        offset: usize,
    },
    /// A key that some parsers take for another.
    #[error("a key differs from `{key}` only in case or by a letter that folds to it, at byte {offset}")]
    Lookalike {
        /// The key that it resembles.
        key: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// Half of a surrogate pair.
    #[error("an escape is half of a surrogate pair, at byte {offset}")]
    LoneSurrogate {
        /// Where.
        offset: usize,
    },
    /// A batch.
    #[error("batches are not part of MCP; send one message a request")]
    Batch,
    /// Not an object.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// `jsonrpc` is missing or not "2.0".
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// A member has the wrong type.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The member.
        key: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// `method` beside `result` or `error`, or both of these.
    #[error("a message is a request, a notification or a response, never two of them")]
    Mixed,
    /// None of `method`, `result`, `error`.
    #[error("a message has a `method`, or an `id` with a `result` or an `error`")]
    Nothing,
    /// A method below `notifications/` with an id.
    #[error("a notification has no `id`")]
    NotificationWithId,
    /// A request without an id.
    #[error("a request needs an `id`")]
    RequestWithoutId,
}

impl ParseRefusal {
    /// The JSON-RPC error code: -32700 for what is not JSON, -32600 for what is no message.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::ByteOrderMark
            | Self::NotUtf8 { .. }
            | Self::Syntax { .. }
            | Self::TrailingBytes { .. }
            | Self::LoneSurrogate { .. } => -32700,
            _ => -32600,
        }
    }

    /// The HTTP status: 413 for what is too large, else 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
