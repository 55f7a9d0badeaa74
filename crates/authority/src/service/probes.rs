//! healthz, readyz and metrics in plain HTTP, for probes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::service::Shared;

/// Serves probes until `over`.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, over: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = over.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&request, &shared);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADERS);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION, connection).await;
            drop(slot);
        });
    }
}

pub(super) fn respond<B>(request: &Request<B>, shared: &Shared) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET\n".to_owned());
    }
    // A page in a browser has no business here, whatever name it resolved to this address.
    if request.headers().contains_key(ORIGIN) || !request.headers().contains_key(HOST) {
        return text(StatusCode::FORBIDDEN, String::new());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match shared.examine().as_slice() {
            [] => text(StatusCode::OK, "ready\n".to_owned()),
            reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
        },
        "/metrics" => {
            shared.examine();
            let Ok(metrics) = shared.metrics.text() else {
                return text(StatusCode::INTERNAL_SERVER_ERROR, String::new());
            };
            let mut response = text(StatusCode::OK, metrics);
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "healthz, readyz, metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Shared {
    /// Sets the gauges and says what is wrong: nothing, where the authority is ready.
    pub(super) fn examine(&self) -> Vec<String> {
        let now = self.clock.now();
        let (signing, lists) = (self.desk.signing(), self.lists.borrow().clone());
        let ends = self.credential.borrow().leaf().not_after();
        let gauges = &self.metrics.gauges;
        set(&gauges.intermediate_not_after, Some(signing.signer.not_after()));
        set(&gauges.root_not_after, self.authority.status().ok().map(|status| status.root_ends));
        set(&gauges.certificate_not_after, Some(ends));
        set(&gauges.crl_next_update, lists.next_update());
        let mut wrong = Vec::new();
        if self.over.is_cancelled() {
            wrong.push("it is ending".to_owned());
        }
        if self.metrics.is_failing() {
            wrong.push("the inventory cannot be written".to_owned());
        }
        if lists.next_update().is_none_or(|stale| stale < now) {
            wrong.push("a revocation list is stale; sign it with `countermark ca crl`".to_owned());
        }
        if signing.signer.not_after() < now {
            wrong.push("the intermediate has ended; renew it with `countermark ca renew`".to_owned());
        }
        if ends < now {
            wrong.push("its own certificate has expired; its log says why it was not renewed".to_owned());
        }
        if self.desk.is_over() {
            wrong.push("nothing reads or writes the inventory any more; restart".to_owned());
        }
        wrong.extend(self.troubles.lines());
        gauges.ready.set(i64::from(wrong.is_empty()));
        wrong
    }
}

fn set(
    gauge: &prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>,
    at: Option<countermark_identity::UnixTime>,
) {
    let seconds = at.and_then(|at| u32::try_from(at.as_secs()).ok()).map_or(f64::NAN, f64::from);
    gauge.set(seconds);
}

/// Probes at one time.
const CONNECTIONS: usize = 64;
const HEADERS: Duration = Duration::from_secs(5);
/// No probe needs longer.
const CONNECTION: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
