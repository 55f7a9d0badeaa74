//! How spans leave the process: by plain HTTP to a collector on this machine, on a thread and a runtime of their own.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::failure::{Explain, Outcome, usage};

/// Sends one request on one connection. Its runtime is driven by the exporter's own thread alone.
pub(super) struct Sender {
    runtime: Runtime,
    failing: AtomicBool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender to `url`, which must not leave this machine: spans say who calls whom.
    pub(super) fn new(url: &str) -> Outcome<Self> {
        let uri: Option<Uri> = url.parse().ok();
        if !uri.is_some_and(|uri| uri.scheme_str() == Some("http") && is_here(&uri)) {
            return Err(usage(
                format!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT leads to {url}, and traces go in plain HTTP, to this machine alone"
                ),
                "run a collector beside it, which sends them on: http://127.0.0.1:4318",
            ));
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_failed("cannot start the runtime of the traces", "check the limits (ulimit -a)")?;
        Ok(Self { runtime, failing: AtomicBool::new(false) })
    }

    /// Says once that they do not arrive, and once that they do again.
    fn tell(&self, sent: &anyhow::Result<Response<Bytes>>) {
        match sent {
            Ok(answer) if answer.status().is_success() => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Ok(answer) => self.warn(&answer.status()),
            Err(error) => self.warn(&format_args!("{error:#}")),
        }
    }

    fn warn(&self, cause: &dyn fmt::Display) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%cause, "the collector takes no traces; they are dropped, and everything else goes on");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let bounded = async {
            tokio::time::timeout(PATIENCE, send(request)).await.context("the collector does not answer in time")?
        };
        let sent = self.runtime.block_on(bounded);
        self.tell(&sent);
        sent.map_err(Into::into)
    }
}

async fn send(request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let authority = request.uri().authority().context("the collector's URL has no host")?.clone();
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let (mut head, body) = request.into_parts();
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    head.headers.insert(HOST, authority.as_str().parse()?);
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
    driven.abort();
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let named = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    !named && (host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_stay_on_this_machine() {
        for here in ["http://127.0.0.1:4318/v1/traces", "http://localhost:4318/", "http://[::1]:1/x"] {
            assert!(Sender::new(here).is_ok(), "{here}");
        }
        for elsewhere in [
            "https://127.0.0.1:4318/",
            "http://10.0.0.1:4318/",
            "http://localhost.evil/",
            "http://127.0.0.1@evil/",
            "4318",
        ] {
            assert!(Sender::new(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
