//! What hyper calls for each request: judge the peer, hand on its evidence, count the request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower_service::Service;
use tracing::Instrument as _;

use super::BoxError;
use super::activity::{Activity, InFlight};
use crate::{Presence, trace};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct PeerService<S, E> {
    pub(super) service: S,
    pub(super) peer: E,
    pub(super) max_header_bytes: usize,
    pub(super) activity: Arc<Activity>,
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<Counted<B>>, BoxError>> + Send>>;

impl<S, B, E> hyper::service::Service<Request<Incoming>> for PeerService<S, E>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    E: Presence,
{
    type Response = Response<Counted<B>>;
    type Error = BoxError;
    type Future = Answer<B>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin();
        if let Err(ended) = self.peer.stands() {
            return Box::pin(std::future::ready(Err(ended.into())));
        }
        if header_bytes(&request) > self.max_header_bytes {
            let mut refused = Response::new(Counted { body: None, _in_flight: in_flight });
            *refused.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Box::pin(std::future::ready(Ok(refused)));
        }
        request.extensions_mut().insert(self.peer.clone());
        let mut service = self.service.clone();
        let span = tracing::debug_span!(
            target: trace::TARGET, "http.server", otel.kind = "server", http.request.method = %request.method(),
            url.path = trace::path(request.uri()), http.response.status_code = tracing::field::Empty,
        );
        let told = span.clone();
        let answer = async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            told.record("http.response.status_code", response.status().as_u16());
            Ok(response.map(|body| Counted { body: Some(body), _in_flight: in_flight }))
        };
        Box::pin(answer.instrument(span))
    }
}

/// The header as it stood on the wire, nearly. hyper bounds its buffer, but only between reads.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let line = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter();
    line + fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}

pin_project_lite::pin_project! {
    /// A body whose request counts as open until it is dropped.
    #[derive(Debug)]
    pub(super) struct Counted<B> {
        #[pin]
        body: Option<B>,
        _in_flight: InFlight,
    }
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
