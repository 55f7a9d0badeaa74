//! Reads a request's body, bounded in size and time.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;

use crate::refusal::{Refusal, code};
use crate::{BoxError, Limits, ParseRefusal};

/// A body up to this size is copied out of the buffer that it arrived in, which the connection then goes on using.
const SMALL: usize = 2048;

/// The whole body, or why it is refused. A larger body that arrived in one piece is not copied.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, limits: &Limits) -> Result<Bytes, Refusal>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<u64>().ok());
    let limit = limits.body;
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(ParseRefusal::TooLarge { limit }.into());
    }
    let mut reading = std::pin::pin!(collect(body, limit));
    // A body that came with its header is here at the second look, and takes no timer.
    let mut looked = false;
    let here = std::future::poll_fn(|cx| match reading.as_mut().poll(cx) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending if std::mem::replace(&mut looked, true) => Poll::Ready(None),
        Poll::Pending => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    if let Some(read) = here.await {
        return read;
    }
    tokio::time::timeout(limits.body_time, reading).await.unwrap_or_else(|_| Err(timed_out(limits.body_time)))
}

async fn collect<B>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: BoxError = error.into();
            tracing::debug!(%error, "a request's body broke off");
            Refusal::invalid("the body broke off")
        })?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > limit.saturating_sub(first.len() + rest.len()) {
            return Err(ParseRefusal::TooLarge { limit }.into());
        }
        if first.is_empty() && rest.is_empty() {
            first = match data.remaining() {
                small @ ..=SMALL if data.chunk().len() == small => Bytes::copy_from_slice(data.chunk()),
                all => data.copy_to_bytes(all),
            };
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            while data.has_remaining() {
                let chunk = data.chunk().len();
                rest.extend_from_slice(data.chunk());
                data.advance(chunk);
            }
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn timed_out(limit: Duration) -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        code::INVALID_REQUEST,
        format!("the body did not arrive within {} s", limit.as_secs()),
    )
}
