//! What hyper calls for each request: judge the peer, hand on its evidence, count the request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower_service::Service;

use super::BoxError;
use super::activity::{Activity, InFlight};
use crate::VerifiedPeer;

/// The service of one connection.
#[derive(Debug)]
pub(super) struct PeerService<S, C> {
    pub(super) service: S,
    pub(super) peer: VerifiedPeer<C>,
    pub(super) activity: Arc<Activity>,
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<Counted<B>>, BoxError>> + Send>>;

impl<S, B, C> hyper::service::Service<Request<Incoming>> for PeerService<S, C>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    C: Clone + Send + Sync + 'static,
{
    type Response = Response<Counted<B>>;
    type Error = BoxError;
    type Future = Answer<B>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin();
        if let Err(ended) = self.peer.judge() {
            return Box::pin(std::future::ready(Err(ended.into())));
        }
        request.extensions_mut().insert(self.peer.clone());
        let mut service = self.service.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(|body| Counted { body, _in_flight: in_flight }))
        })
    }
}

pin_project_lite::pin_project! {
    /// A body whose request counts as open until it is dropped.
    #[derive(Debug)]
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        _in_flight: InFlight,
    }
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
