//! Bodies with a bound on size and time.

use std::time::Duration;

use axum::{
    body::Body as Raw,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::service::refusal::Refusal;

/// The body, or why it is refused; the handler decides in which words.
#[derive(Debug)]
pub(super) struct Body(pub(super) Result<Bytes, Refusal>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request<Raw>, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(read(request).await))
    }
}

impl Body {
    /// The body as JSON; unknown members are refused by the types that are read.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0?)
            .map_err(|error| Refusal::bad_request("bad_request", format!("the body is not what belongs here: {error}")))
    }
}

async fn read(request: Request<Raw>) -> Result<Bytes, Refusal> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(Refusal::too_large());
    }
    let body = Limited::new(request.into_body(), LARGEST);
    match tokio::time::timeout(PATIENCE, body.collect()).await {
        Err(_) => {
            Err(Refusal::new(http::StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not arrive within 30 s"))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large()),
        Ok(Err(_)) => Err(Refusal::bad_request("bad_request", "the body did not arrive whole")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

const LARGEST: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
