//! Bodies of answers that pass as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{self, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;

use super::answer::AnswerBody;
use super::respond::Context;
use crate::BoxError;

/// The body as it comes, without a copy.
pub(super) fn passed<R>(body: R) -> AnswerBody
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    BodyExt::boxed(Exclusive(Mutex::new(body.map_err(Into::into).boxed_unsync())))
}

/// A body that is `Send` made `Sync`: it is only ever read through `&mut`, so the lock is never contended.
struct Exclusive(Mutex<UnsyncBoxBody<Bytes, BoxError>>);

impl Body for Exclusive {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

pin_project! {
    /// Pieces that were read already, then the rest of the body.
    pub(super) struct Resumed<R> {
        pub(super) read: VecDeque<Bytes>,
        #[pin]
        pub(super) rest: R,
    }
}

impl<R> Body for Resumed<R>
where
    R: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        match this.read.pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

pin_project! {
    /// An answer that is too large to be held: the right to it is judged before each piece, and what has ended breaks off.
    pub(super) struct Entitled<R> {
        context: Context,
        #[pin]
        body: R,
        over: bool,
    }
}

impl<R> Entitled<R> {
    pub(super) fn new(context: Context, body: R) -> Self {
        Self { context, body, over: false }
    }
}

impl<R> Body for Entitled<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = this.body.poll_frame(cx) else { return Poll::Pending };
        if let (Some(Ok(_)), Err(reason)) = (&frame, this.context.right()) {
            *this.over = true;
            this.context.ended(&reason);
            return Poll::Ready(Some(Err(reason.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream of chunks as a body. The lock is never contended: it only makes a stream that is `Send` also `Sync`.
pub(super) struct Chunks(Mutex<BoxStream<'static, Result<Bytes, BoxError>>>);

impl Chunks {
    pub(super) fn new(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(stream)))
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.0.get_mut() {
            Ok(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(|chunk| chunk.map(Frame::data))),
            Err(_) => Poll::Ready(None),
        }
    }
}
