//! A body whose pieces must not be too far apart.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{self, BoxError};

/// Fails when nothing arrives for longer than the pace.
pub(crate) struct Paced {
    body: body::Body,
    pace: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Nothing arrived for too long.
#[derive(Debug, thiserror::Error)]
#[error("the upstream sent nothing for {0:?}")]
struct Stalled(Duration);

impl Paced {
    pub(crate) fn new(body: body::Body, pace: Duration) -> Self {
        Self { body, pace, timer: Box::pin(sleep(pace)) }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let next = Instant::now() + self.pace;
            self.timer.as_mut().reset(next);
            return Poll::Ready(frame);
        }
        match self.timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Stalled(self.pace).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
