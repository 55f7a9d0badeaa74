//! healthz, readyz and metrics in plain HTTP, for probes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::answer;
use crate::body::{self, Body};

/// Probes at one time.
const CONNECTIONS: usize = 64;
const HEADERS: Duration = Duration::from_secs(5);
/// No probe needs longer.
const CONNECTION: Duration = Duration::from_secs(30);

/// Why guard is not ready: nothing, or the reasons.
pub(crate) trait Ready: Send + Sync {
    /// Sets the gauges and says what is wrong.
    fn examine(&self) -> Vec<String>;
}

/// Serves probes until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    ready: Arc<dyn Ready>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (ready, metrics) = (Arc::clone(&ready), Arc::clone(&metrics));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&request, ready.as_ref(), &metrics);
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

fn respond<B>(request: &Request<B>, ready: &dyn Ready, metrics: &Metrics) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    // A page in a browser has no business here, whatever name it resolved to this address.
    if request.headers().contains_key(http::header::ORIGIN) || !request.headers().contains_key(HOST) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    match request.uri().path() {
        "/healthz" => answer::text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(&ready.examine()),
        "/metrics" => {
            ready.examine();
            let Ok(text) = metrics.text() else { return answer::status(StatusCode::INTERNAL_SERVER_ERROR) };
            let mut response = Response::new(body::full(text));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => answer::text(StatusCode::NOT_FOUND, "healthz, readyz, metrics\n"),
    }
}

fn readiness(reasons: &[String]) -> Response<Body> {
    if reasons.is_empty() {
        return answer::text(StatusCode::OK, "ready\n");
    }
    let mut text = reasons.join("\n");
    text.push('\n');
    answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
}
