use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::ClientError;
use crate::VerifiedServer;

/// The body of an answer; it ends with an error when the server's right ends.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Incoming,
    server: Option<VerifiedServer>,
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, server: Option<VerifiedServer>) -> Self {
        Self { incoming, server }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        polled
            .map(|frame| frame.map(|frame| frame.map_err(|error| ClientError::from_body(error, self.server.as_ref()))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
