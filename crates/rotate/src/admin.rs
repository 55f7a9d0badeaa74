//! healthz, readyz and metrics in plain HTTP, for probes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::run::Handle;

/// Serves probes until `shutdown`.
pub async fn serve(listener: TcpListener, handle: Handle, metrics: Arc<Metrics>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let (handle, metrics) = (handle.clone(), Arc::clone(&metrics));
                    connections.spawn(async move {
                        let service = service_fn(move |request: Request<Incoming>| {
                            let (handle, metrics) = (handle.clone(), Arc::clone(&metrics));
                            async move { Ok::<_, Infallible>(respond(&request, &handle, &metrics).await) }
                        });
                        let mut builder = http1::Builder::new();
                        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS);
                        let connection = builder.serve_connection(TokioIo::new(stream), service);
                        let _ended = tokio::time::timeout(CONNECTION, connection).await;
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn respond<B>(request: &Request<B>, handle: &Handle, metrics: &Metrics) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    // A page in a browser has no business here, whatever name it resolved to this address.
    if request.headers().contains_key(ORIGIN) || !request.headers().contains_key(HOST) {
        return text(StatusCode::FORBIDDEN, String::new());
    }
    let Ok(status) = handle.status().await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the rotation has ended\n".to_owned());
    };
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if status.ready => text(StatusCode::OK, "ready\n".to_owned()),
        "/readyz" => {
            let unusable = status.credentials.iter().filter(|credential| !credential.usable);
            let lines = unusable.map(|credential| match &credential.failure {
                Some(failure) => format!("{}: {} ({})\n", credential.name, failure.cause, failure.step),
                None => format!("{}: no credential that can be used\n", credential.name),
            });
            text(StatusCode::SERVICE_UNAVAILABLE, lines.collect())
        }
        "/metrics" => match metrics.text(&status) {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        },
        _ => text(StatusCode::NOT_FOUND, "healthz, readyz, metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Probes at one time.
const CONNECTIONS: usize = 64;
const HEADERS: Duration = Duration::from_secs(5);
/// No probe needs longer.
const CONNECTION: Duration = Duration::from_secs(30);
