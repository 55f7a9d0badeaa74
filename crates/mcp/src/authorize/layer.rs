//! The layer and its service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use tower_layer::Layer;
use tower_service::Service;

use super::Authorization;
use super::gate::Gate;
use crate::BoxError;

/// Wraps a service so that only permitted calls reach it. Clones share sessions and tasks.
#[derive(Clone, Debug)]
pub struct AuthorizeLayer {
    gate: Arc<Gate>,
}

impl AuthorizeLayer {
    /// A layer that lets through what `authorization` permits.
    #[must_use]
    pub fn new(authorization: Authorization) -> Self {
        Self { gate: Arc::new(Gate::new(authorization)) }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize { inner, gate: Arc::clone(&self.gate) }
    }
}

/// The service behind which only permitted calls arrive.
///
/// The request must carry a [`VerifiedPeer`](countermark_mtls::VerifiedPeer) in its extensions; without one it is refused. What is forwarded carries it still, and the
/// [`AgentId`](countermark_identity::AgentId) and the [`Permit`](countermark_policy::Permit) beside it.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Authorize<S> {
    /// Judges a request, and forwards it if it is permitted: the [`Service`] without its box.
    pub async fn answer<B, R>(self, request: Request<B>) -> Response<BoxBody<Bytes, BoxError>>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.gate.pass(request, self.inner).await
    }
}

impl<S, B, R> Service<Request<B>> for Authorize<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<BoxBody<Bytes, BoxError>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Always ready: the inner service is awaited once a call is permitted, so that a denial never waits for it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}
