//! What is said to whoever does not get what they asked for: a status, a word, and the next step.

use std::error::Error as _;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use countermark_issue::CsrError;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use crate::{error::AuthorityError, service::desk::DeskError, store::StoreError};

/// A refusal, as the one who asked sees it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// There was something, and there will not be again.
    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "revoked", message)
    }

    pub(crate) fn later(code: &'static str, message: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    pub(crate) fn too_many(seconds: u64) -> Self {
        let message = format!("too many requests; try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message) }
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body has more than 64 KiB; send the request alone")
    }

    /// Whether it is our fault, and not a decision about the one who asked.
    pub(crate) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// As EST says it: plain text.
    pub(crate) fn into_text(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.message)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        self.complete(response)
    }

    fn complete(&self, mut response: Response) -> Response {
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"invite\", Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.code, "message": self.message}));
        self.complete((self.status, body).into_response())
    }
}

impl From<CsrError> for Refusal {
    fn from(error: CsrError) -> Self {
        Self::bad_request("bad_request", format!("{error}; make the request with the key alone"))
    }
}

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Authority(error) => Self::from(error.as_ref()),
            DeskError::Sign(error) => Self::forbidden("not_allowed", error.to_string()),
            DeskError::Store(cause) => no_store(&cause),
            DeskError::Busy => Self::later("busy", "too much is waiting to be written; try again", 1),
            DeskError::Revoked => Self::forbidden("revoked", "the certificate is revoked; enrol anew with an invite"),
            DeskError::Spent => {
                Self::forbidden("invite_used", "the invite has been used or has expired; ask for a new one")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(cause: StoreError) -> Self {
        no_store(&cause)
    }
}

impl From<AuthorityError> for Refusal {
    fn from(error: AuthorityError) -> Self {
        Self::from(&error)
    }
}

impl From<&AuthorityError> for Refusal {
    fn from(error: &AuthorityError) -> Self {
        match error {
            AuthorityError::Csr(error) => error.clone().into(),
            AuthorityError::ForeignIdentity { .. }
            | AuthorityError::Sign(_)
            | AuthorityError::Subject(_)
            | AuthorityError::ProfileName(_)
            | AuthorityError::ProfileRole { .. } => Self::forbidden("not_allowed", error.to_string()),
            AuthorityError::UnknownSerial(_) | AuthorityError::UnknownIdentity(_) => Self::not_found(error.to_string()),
            AuthorityError::Store(cause) => no_store(cause),
            // File names and causes are for the log.
            other => {
                tracing::error!(error = %other, "the authority failed");
                Self::later("authority_unavailable", "the authority cannot do this now; its log says why", 30)
            }
        }
    }
}

fn no_store(cause: &StoreError) -> Refusal {
    tracing::error!(error = %cause, cause = cause.source().map(tracing::field::display), "the inventory does not answer");
    Refusal::later("store_unavailable", "the inventory cannot be written now; try again", 5)
}
