//! Load on an authority: the same requests for certificates, over kept connections or with a handshake each.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::tls;

#[derive(Debug, clap::Args)]
pub(crate) struct IssueArguments {
    #[arg(value_enum)]
    api: Api,
    #[arg(long)]
    url: Uri,
    /// Holds `lane-N`, an identity directory, and `lane-N.csr`, a request in PEM, for each lane
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, default_value_t = 32)]
    lanes: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Open a connection for each request
    #[arg(long)]
    handshakes: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Api {
    /// Renewal by the current certificate (RFC 7030)
    Est,
    /// cfssl's `sign`
    Cfssl,
}

/// One identity with its request, and whom it asks.
struct Lane {
    authority: String,
    tls: Arc<ClientConfig>,
    path: &'static str,
    kind: &'static str,
    body: Bytes,
    /// What stands in an answer that is none.
    refusal: &'static [u8],
}

/// Prints how many certificates were handed out.
pub(crate) async fn run(arguments: IssueArguments) -> Result<()> {
    let authority = arguments.url.authority().context("a URL")?.to_string();
    let lanes = (0..arguments.lanes).map(|number| Lane::read(arguments.api, &authority, &arguments.folder, number));
    let lanes = lanes.collect::<Result<Vec<_>>>()?;
    println!("{}", LocalSet::new().run_until(busy(lanes, &arguments)).await?);
    Ok(())
}

async fn busy(lanes: Vec<Lane>, arguments: &IssueArguments) -> Result<u64> {
    let (done, handshakes) = (Rc::new(Cell::new(0)), arguments.handshakes);
    let until = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let clients: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            let done = Rc::clone(&done);
            tokio::task::spawn_local(async move {
                let mut kept = None;
                while Instant::now() < until {
                    let mut connection = match kept.take().filter(|_| !handshakes) {
                        Some(connection) => connection,
                        None => lane.connect().await?,
                    };
                    lane.ask(&mut connection).await?;
                    kept = Some(connection);
                    done.set(done.get() + 1);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(done.get())
}

impl Lane {
    fn read(api: Api, authority: &str, folder: &Path, number: usize) -> Result<Self> {
        let request = std::fs::read_to_string(folder.join(format!("lane-{number}.csr")))?;
        let (path, kind, body, refusal) = match api {
            Api::Est => {
                let base64 = request.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
                ("/.well-known/est/simplereenroll", "application/pkcs10", base64, b"<nothing>".as_slice())
            }
            Api::Cfssl => {
                let json = format!(r#"{{"certificate_request":"{}"}}"#, request.replace('\n', "\\n"));
                ("/api/v1/cfssl/sign", "application/json", json, b"\"success\":false".as_slice())
            }
        };
        let tls = tls::client(&folder.join(format!("lane-{number}")), false)?;
        Ok(Self { authority: authority.to_owned(), tls, path, kind, body: body.into(), refusal })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn ask(&self, connection: &mut SendRequest<Full<Bytes>>) -> Result<()> {
        connection.ready().await?;
        let request = Request::post(self.path).header("host", "localhost").header("content-type", self.kind);
        let answer = connection.send_request(request.body(Full::from(self.body.clone()))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let refused = body.windows(self.refusal.len()).any(|window| window == self.refusal);
        ensure!(status.is_success() && !refused, "{status} {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}
