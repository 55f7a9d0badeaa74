//! Request bodies that an early answer leaves unread.
//!
//! Dropped before the answer, such a body resets its HTTP/2 stream, or closes an HTTP/1.1 connection over unread bytes, and the
//! answer may be lost. So it is kept until the answer is out, and then read away within bounds.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::shares;
use crate::body::{Body, BoxError};

/// How long, and how much, is read away.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 8 << 20;

/// A request's body that outlives whoever reads it.
#[derive(Debug)]
pub(crate) struct Held(Arc<Mutex<Incoming>>);

/// An answer's body, and the request's that it may have left unread.
pub(crate) struct Answering {
    body: Body,
    request: Held,
    /// When a stream that has no end of its own is to end.
    over: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _share: Option<shares::Answering>,
}

impl Held {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// The answer's body, which keeps the request's until it is out; an endless one ends when it is `over`.
    pub(crate) fn until_out(
        self,
        answer: Body,
        over: Option<CancellationToken>,
        share: Option<shares::Answering>,
    ) -> Answering {
        let over = over.map(|over| Box::pin(over.cancelled_owned()));
        Answering { body: answer, request: self, over, _share: share }
    }

    async fn read_away(mut self) {
        let mut read = 0;
        while let Some(Ok(frame)) = self.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST {
                return;
            }
        }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over.as_mut().is_some_and(|over| over.as_mut().poll(context).is_ready()) {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.over.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let unread = !self.request.is_end_stream();
        if let (true, Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(PATIENCE, self.request.share().read_away()));
        }
    }
}
