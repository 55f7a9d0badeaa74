//! Bodies that are whole, empty, or fed by a task.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::mpsc;

/// The error of any body on its way.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer of this crate.
pub(crate) type Body = BoxBody<Bytes, BoxError>;

/// A body that is all there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never: Infallible| match never {}).boxed()
}

/// A body that ends when its sender is dropped; the sender learns when nobody reads any more.
pub(crate) fn channel(capacity: usize) -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(capacity);
    (sender, Fed(receiver).boxed())
}

struct Fed(mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
