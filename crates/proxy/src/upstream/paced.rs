//! A body whose pieces must not be too far apart.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::body::BoxError;

/// A piece up to this size is copied out of the buffer that it arrived in, which the connection then goes on using.
const SMALL: usize = 2048;

/// Fails when nothing arrives for longer than the pace, where there is one.
#[derive(Debug)]
pub(crate) struct Paced<B> {
    body: B,
    pace: Option<Duration>,
    /// Made when something has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Nothing arrived for too long.
#[derive(Debug, thiserror::Error)]
#[error("the upstream sent nothing for {0:?}")]
struct Stalled(Duration);

impl<B> Paced<B> {
    pub(crate) fn new(body: B, pace: Option<Duration>) -> Self {
        Self { body, pace, timer: None }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(detached)).map_err(Into::into)));
        }
        let Some(pace) = self.pace else { return Poll::Pending };
        match self.timer.get_or_insert_with(|| Box::pin(sleep(pace))).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Stalled(pace).into()))),
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

fn detached(piece: Bytes) -> Bytes {
    if piece.len() <= SMALL { Bytes::copy_from_slice(&piece) } else { piece }
}
