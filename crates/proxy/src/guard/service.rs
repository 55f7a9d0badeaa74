//! One request, from the connection to the layer that judges it.

use std::convert::Infallible;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use countermark_mcp::Authorize;
use countermark_mtls::VerifiedPeer;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::held::{Answering, Held};
use super::metrics::Metrics;
use super::shares::{Asking, Shares};
use crate::answer;
use crate::body::Body;
use crate::upstream::Behind;

/// Routes by path, bounds how much is in flight, and measures. One for all connections.
#[derive(Debug, Clone)]
pub(crate) struct Front(Arc<Parts>);

/// What it is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) authorize: Authorize<Behind>,
    pub(crate) place: Place,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) shares: Shares,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when guard begins to drain.
    pub(crate) over: CancellationToken,
}

/// Where guard serves.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: String,
    /// Where it says which tokens it takes.
    pub(crate) metadata: Option<Box<str>>,
    pub(crate) url: String,
}

impl Front {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Front {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Answering>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let held = Held::new(body);
            // A GET stream and a subscription last until somebody ends them: at shutdown that is guard.
            let subscribes = parts.headers.get("mcp-method").is_some_and(|method| method == "subscriptions/listen");
            let over = (parts.method == Method::GET || subscribes).then(|| front.over.clone());
            let share = parts.extensions.get::<VerifiedPeer>().and_then(|peer| front.shares.take(peer.agent()));
            let (asking, open) = share.unzip();
            let response = front.answer(Request::from_parts(parts, held.share()), asking).await;
            Ok(response.map(|body| held.until_out(body, over, open)))
        })
    }
}

impl Parts {
    async fn answer(&self, request: Request<Held>, share: Option<Asking>) -> Response<Body> {
        let path = request.uri().path();
        if path != self.place.path && Some(path) != self.place.metadata.as_deref() {
            let text = format!("nothing is served here; the MCP endpoint is {}\n", self.place.url);
            return answer::text(StatusCode::NOT_FOUND, text);
        }
        let Some(share) = share else { return busy("this agent has as many requests open as it may") };
        let Ok(slot) = self.in_flight.try_acquire() else {
            return busy("as many requests are in flight as may be");
        };
        let begun = Instant::now();
        let counted = Counted::new(&self.metrics);
        let response = self.authorize.clone().answer(request).await;
        self.metrics.answered(begun.elapsed());
        drop((slot, share, counted));
        response
    }
}

fn busy(text: &str) -> Response<Body> {
    answer::error(StatusCode::SERVICE_UNAVAILABLE, None, answer::INTERNAL, text)
}

/// Counts down even when the client went away.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.gauges.in_flight.inc();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.gauges.in_flight.dec();
    }
}
