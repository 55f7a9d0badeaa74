//! The MCP server behind every proxy.

use anyhow::Result;
use bytes::Bytes;
use http::{Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"42"}],"isError":false,"resultType":"complete"}}"#;

pub(crate) async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|request: http::Request<hyper::body::Incoming>| async {
            request.into_body().collect().await?;
            let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
            let body = Full::new(Bytes::from_static(ANSWER.as_bytes()));
            Ok::<_, anyhow::Error>(answer.body(body)?)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
