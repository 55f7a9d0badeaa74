//! Bad input and lack of right, before the policy is asked: status, code and text of the answer.

use std::borrow::Cow;

use countermark_mtls::PeerEnded;
use countermark_oauth::Challenge;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{Era, ParseRefusal, ProtocolVersion};

/// The codes of JSON-RPC and of MCP 2026-07-28 that are answered here.
pub(crate) mod code {
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    pub(crate) const INTERNAL_ERROR: i32 = -32603;
    pub(crate) const HEADER_MISMATCH: i32 = -32020;
    pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;
}

/// Why a request is refused, as its sender is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: i32,
    pub(crate) message: Cow<'static, str>,
    pub(crate) data: Option<Value>,
    /// How a token could mend it; in a header, never in what a model reads.
    pub(crate) challenge: Option<Box<Challenge>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), data: None, challenge: None }
    }

    /// A request that is wrong in itself: 400.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message)
    }

    /// > Servers that process the request body MUST reject requests where the values specified in the headers do not
    /// > match the corresponding values in the request body.
    pub(crate) fn mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::HEADER_MISMATCH, message)
    }

    /// > the server MUST respond with an `UnsupportedProtocolVersionError` listing the versions it does support
    ///
    /// Who names its version in `_meta` is told the versions that are spoken that way.
    pub(crate) fn version(requested: &str, in_meta: bool) -> Self {
        let supported: Vec<_> = ProtocolVersion::ALL
            .into_iter()
            .filter(|version| !in_meta || version.era() == Era::Modern)
            .map(ProtocolVersion::as_str)
            .collect();
        let requested: String = requested.chars().take(64).collect();
        let message = if requested == "2024-11-05" {
            "protocol version 2024-11-05 with its HTTP+SSE transport is not served; use Streamable HTTP of 2025-03-26 or later"
        } else {
            "unsupported protocol version"
        };
        Self {
            data: Some(json!({ "supported": supported, "requested": requested })),
            ..Self::new(StatusCode::BAD_REQUEST, code::UNSUPPORTED_VERSION, message)
        }
    }

    /// The caller's right to its connection is over.
    pub(crate) fn ended(why: &PeerEnded) -> Self {
        let message = format!("the right to this connection has ended: {why}");
        Self::new(StatusCode::FORBIDDEN, code::INVALID_REQUEST, message)
    }

    /// The same for a session that never was, has ended, or belongs to another identity.
    pub(crate) fn session() -> Self {
        Self::new(StatusCode::NOT_FOUND, code::INVALID_REQUEST, "session not found; initialize again")
    }
}

impl From<ParseRefusal> for Refusal {
    fn from(refusal: ParseRefusal) -> Self {
        Self::new(refusal.status(), refusal.code(), refusal.to_string())
    }
}
