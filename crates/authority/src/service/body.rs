//! Bodies with a bound on size and time.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body as Raw,
    extract::{FromRequest, FromRequestParts, Request},
};
use bytes::Bytes;
use countermark_mtls::Visitor;
use http::{header::CONTENT_LENGTH, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::service::{Shared, refusal::Refusal};

/// An address that has not asked too often.
#[derive(Debug)]
pub(super) struct Stranger;

impl FromRequestParts<Arc<Shared>> for Stranger {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        admit(parts, shared).map(|()| Self)
    }
}

/// Counts a request of its address.
pub(super) fn admit(parts: &Parts, shared: &Shared) -> Result<(), Refusal> {
    let visitor = parts.extensions.get::<Visitor>();
    let visitor = visitor.ok_or_else(|| Refusal::unauthorized("certificate_required", "nobody is known here"))?;
    shared.limiter.stranger(visitor.remote().ip(), shared.clock.now())
}

/// The body, or why it is refused; the handler decides in which words.
#[derive(Debug)]
pub(super) struct Body(pub(super) Result<Bytes, Refusal>);

/// What the header says, and then the body: nobody's bytes are held for somebody who is refused anyway.
///
/// A refused body is read away within bounds, since a stream that ends over unread bytes may lose the answer.
#[derive(Debug)]
pub(super) struct After<T>(pub(super) T, pub(super) Body);

impl<T> FromRequest<Arc<Shared>> for After<T>
where
    T: FromRequestParts<Arc<Shared>> + Send,
    T::Rejection: Send,
{
    type Rejection = T::Rejection;

    async fn from_request(request: Request<Raw>, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        match T::from_request_parts(&mut parts, shared).await {
            Ok(header) => Ok(Self(header, Body(read(Request::from_parts(parts, body), shared).await))),
            Err(refused) => {
                let _within_bounds = tokio::time::timeout(FAREWELL, read_away(body)).await;
                Err(refused)
            }
        }
    }
}

async fn read_away(mut body: Raw) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > LARGEST {
            return;
        }
    }
}

impl Body {
    /// The body as JSON; unknown members are refused by the types that are read.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0?)
            .map_err(|error| Refusal::bad_request("bad_request", format!("the body is not what belongs here: {error}")))
    }
}

async fn read(request: Request<Raw>, shared: &Shared) -> Result<Bytes, Refusal> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(Refusal::too_large());
    }
    let visitor = request.extensions().get::<Visitor>();
    let visitor = visitor.ok_or_else(|| Refusal::unauthorized("certificate_required", "nobody is known here"))?;
    let _room = shared.bodies.room(visitor, announced.unwrap_or(LARGEST).max(1))?;
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
/// How long a body that nobody wants is read away.
const FAREWELL: Duration = Duration::from_secs(2);
