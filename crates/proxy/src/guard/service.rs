//! One request, from the connection to the layer that judges it.

use std::convert::Infallible;
use std::future::Future;
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

use super::held::Held;
use super::metrics::Metrics;
use super::shares::{Asking, Shares};
use crate::answer;
use crate::body::Body;
use crate::upstream::Behind;

/// Routes by path, bounds how much is in flight, and measures.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) authorize: Authorize<Behind>,
    pub(crate) place: Arc<Place>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) shares: Arc<Shares>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when guard begins to drain.
    pub(crate) over: CancellationToken,
}

/// Where guard serves.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) url: String,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let held = Held::new(body);
        // A GET stream and a subscription last until somebody ends them: at shutdown that is guard.
        let subscribes = parts.headers.get("mcp-method").is_some_and(|method| method == "subscriptions/listen");
        let over = (parts.method == Method::GET || subscribes).then(|| self.over.clone());
        let share = parts.extensions.get::<VerifiedPeer>().and_then(|peer| self.shares.take(peer.agent()));
        let (asking, open) = share.unzip();
        let answer = self.answer(Request::from_parts(parts, held.share()), asking);
        Box::pin(async move { answer.await.map(|response| response.map(|body| held.until_out(body, over, open))) })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Front {
    fn answer(&mut self, request: Request<Held>, share: Option<Asking>) -> Answer {
        if request.uri().path() != self.place.path {
            let text = format!("nothing is served here; the MCP endpoint is {}\n", self.place.url);
            return Box::pin(std::future::ready(Ok(answer::text(StatusCode::NOT_FOUND, text))));
        }
        let Some(share) = share else { return busy("this agent has as many requests open as it may") };
        let Ok(slot) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            return busy("as many requests are in flight as may be");
        };
        let (answer, metrics) = (self.authorize.call(request), Arc::clone(&self.metrics));
        let begun = Instant::now();
        metrics.gauges.in_flight.inc();
        let counted = Counted(metrics);
        Box::pin(async move {
            let response = answer.await;
            counted.0.answered(begun.elapsed());
            drop((slot, share, counted));
            response
        })
    }
}

fn busy(text: &str) -> Answer {
    let response = answer::error(StatusCode::SERVICE_UNAVAILABLE, None, answer::INTERNAL, text);
    Box::pin(std::future::ready(Ok(response)))
}

/// Counts down even when the client went away.
struct Counted(Arc<Metrics>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.gauges.in_flight.dec();
    }
}
