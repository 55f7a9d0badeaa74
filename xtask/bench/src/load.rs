//! Load: requests over kept connections, handshakes, or connections that lie idle.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::tls;

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    #[arg(value_enum)]
    kind: Kind,
    #[arg(long)]
    url: Uri,
    /// The agent's identity directory
    #[arg(long)]
    identity: PathBuf,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[arg(long, default_value = "read_balance")]
    tool: String,
    /// The authority that signs strangers
    #[arg(long)]
    authority: Option<PathBuf>,
    /// How many strangers come
    #[arg(long, default_value_t = 1000)]
    strangers: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Kind {
    /// Calls over kept connections; prints how many were answered with a result
    Calls,
    /// One call; prints the status and the body
    Call,
    /// A full handshake each, and a request that nobody forwards; prints how many
    Handshakes,
    /// The same with resumed sessions
    Resumptions,
    /// A full handshake each of agents that come once; prints how many
    Strangers,
    /// Opens connections, prints `ready`, holds them until stdin ends
    Idle,
}

/// Whom to call, with what.
struct Target {
    authority: String,
    path: String,
    tls: Arc<ClientConfig>,
    tool: String,
}

pub(crate) async fn run(arguments: LoadArguments) -> Result<()> {
    let strangers = match (arguments.kind, &arguments.authority) {
        (Kind::Strangers, Some(authority)) => tls::strangers(&arguments.identity, authority, arguments.strangers)?,
        (Kind::Strangers, None) => bail!("strangers need --authority"),
        _ => Vec::new(),
    };
    let target = Rc::new(Target {
        authority: arguments.url.authority().context("a URL")?.to_string(),
        path: arguments.url.path().to_owned(),
        tls: tls::client(&arguments.identity, arguments.kind == Kind::Resumptions)?,
        tool: arguments.tool.clone(),
    });
    match arguments.kind {
        Kind::Call => {
            let (status, body) = target.call(&mut target.connect(&target.tls).await?).await?;
            println!("{status} {}", String::from_utf8_lossy(&body));
        }
        Kind::Idle => idle(&target, arguments.connections).await?,
        Kind::Strangers => {
            let handshakes = strangers.iter().map(|stranger| target.handshake(stranger));
            let done: Vec<()> = stream::iter(handshakes).buffer_unordered(arguments.connections).try_collect().await?;
            println!("{}", done.len());
        }
        kind => println!("{}", LocalSet::new().run_until(busy(target, kind, &arguments)).await?),
    }
    Ok(())
}

/// Keeps `connections` clients busy for the time, and counts what was done.
async fn busy(target: Rc<Target>, kind: Kind, arguments: &LoadArguments) -> Result<u64> {
    let done = Rc::new(Cell::new(0));
    let until = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let clients = (0..arguments.connections).map(|_| {
        let (target, done) = (Rc::clone(&target), Rc::clone(&done));
        tokio::task::spawn_local(async move {
            let mut kept = None;
            while Instant::now() < until {
                if kind != Kind::Calls {
                    target.handshake(&target.tls).await?;
                } else {
                    let connection = match &mut kept {
                        Some(connection) => connection,
                        none => none.insert(target.connect(&target.tls).await?),
                    };
                    let (status, body) = target.call(connection).await?;
                    ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&body));
                }
                done.set(done.get() + 1);
            }
            anyhow::Ok(())
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await??;
    }
    Ok(done.get())
}

async fn idle(target: &Target, connections: usize) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut connection = target.connect(&target.tls).await?;
        // One call each: what a connection keeps after its first use is what it costs.
        target.call(&mut connection).await?;
        held.push(connection);
    }
    println!("ready");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

impl Target {
    async fn connect(&self, tls: &Arc<ClientConfig>) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A handshake, and an answer as the sign that the server took it.
    async fn handshake(&self, tls: &Arc<ClientConfig>) -> Result<()> {
        let mut connection = self.connect(tls).await?;
        let request = Request::get("/nowhere").header("host", "localhost");
        let answer = connection.send_request(request.body(Full::default())?).await?;
        answer.into_body().collect().await?;
        Ok(())
    }

    async fn call(&self, connection: &mut SendRequest<Full<Bytes>>) -> Result<(u16, Bytes)> {
        connection.ready().await?;
        let tool = &self.tool;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"account":"cash"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"load","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        );
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(Full::from(body))?;
        let answer = connection.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
