//! The measure: what TLS, HTTP and forwarding cost with the same libraries, and nothing on top.

use std::path::PathBuf;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::tls;

#[derive(Debug, clap::Args)]
pub(crate) struct LimitArguments {
    /// The server's identity directory
    #[arg(long)]
    identity: PathBuf,
    /// Where to forward
    #[arg(long)]
    upstream: Uri,
}

type Upstream = Client<HttpConnector, Incoming>;

pub(crate) async fn run(arguments: LimitArguments) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server(&arguments.identity)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("https://{}/mcp", listener.local_addr()?);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let upstream: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, upstream, to) = (acceptor.clone(), upstream.clone(), arguments.upstream.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| forward(upstream.clone(), to.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.await.ok();
        });
    }
}

async fn forward(
    upstream: Upstream,
    to: Uri,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>> {
    if request.uri().path() != to.path() {
        let mut missing = Response::new(Empty::new().map_err(|never| match never {}).boxed());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(missing);
    }
    *request.uri_mut() = to;
    Ok(upstream.request(request).await?.map(http_body_util::BodyExt::boxed))
}
