//! A listener, its authority and its callers.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countermark_credential::{Credential, Source as _, Trust};
use countermark_identity::SanMap;
use countermark_mtls::{
    Acceptor, AcceptorConfig, Caller, Client, ClientConfig, ExpectedServer, HandshakeError, ServeConfig, VerifiedPeer,
    serve,
};
use countermark_testkit::{Minted, MockClock, TestCa, TestSource, TestTrust, anyone};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

pub(crate) const TRUST_DOMAIN: &str = "agents.internal";
/// What a right that ended may take to be felt.
pub(crate) const SOON: Duration = Duration::from_secs(1);
/// No promise of time is tested; only a hang is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One authority with one server, `ledger`.
pub(crate) struct Estate {
    pub(crate) ca: TestCa,
    /// What the server trusts.
    pub(crate) trust: TestTrust,
    /// What the callers trust.
    pub(crate) callers_trust: TestTrust,
    pub(crate) source: TestSource,
    streams: Streams,
}

type Streams = Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>;

impl Estate {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new(TRUST_DOMAIN);
        // It outlives its callers, so that what expires in a test is the caller.
        let server = ca.server_spec("ledger").ttl(Duration::from_secs(24 * 3600));
        let source = TestSource::new(ca.mint(&server).credential());
        let (trust, callers_trust) = (ca.trusted(), ca.trusted());
        Self { ca, trust, callers_trust, source, streams: Streams::default() }
    }

    pub(crate) fn clock(&self) -> Arc<MockClock> {
        Arc::new(self.ca.clock().clone())
    }

    pub(crate) fn acceptor(&self, config: AcceptorConfig) -> Acceptor {
        Acceptor::new(self.source.watch(), self.trust.generations(), self.clock(), config).unwrap()
    }

    pub(crate) async fn serve(&self) -> Listener {
        self.serve_with(AcceptorConfig::default(), ServeConfig::default()).await
    }

    pub(crate) async fn serve_with(&self, config: AcceptorConfig, limits: ServeConfig) -> Listener {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (acceptor, shutdown) = (self.acceptor(config), CancellationToken::new());
        let task =
            tokio::spawn(serve(tcp, acceptor.clone(), Answers(Arc::clone(&self.streams)), limits, shutdown.clone()));
        Listener { address, acceptor, shutdown, task }
    }

    /// Sends one event on every open stream.
    pub(crate) fn event(&self, text: &'static str) {
        let text = Bytes::from_static(text.as_bytes());
        self.streams.lock().unwrap().retain(|stream| stream.send(text.clone()).is_ok());
    }

    pub(crate) fn client(&self, source: &TestSource, http2: bool) -> Client {
        let config = ClientConfig { http2, ..ClientConfig::default() };
        let expected = ExpectedServer::Name("ledger".to_owned());
        let trust = self.callers_trust.generations();
        Client::new(source.watch(), trust, expected, self.clock(), config).unwrap()
    }

    /// One connection outside of any pool.
    pub(crate) async fn kept(&self, to: &Listener, who: Arc<Credential>, http2: bool) -> Kept {
        let client = self.client(&TestSource::new(who), http2);
        let tcp = TcpStream::connect(to.address).await.unwrap();
        let stream = client.connect(tcp, "localhost").await.unwrap();
        assert_eq!(stream.is_http2(), http2);
        let io = TokioIo::new(stream);
        if http2 {
            let (send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            Kept { send: Send::Http2(send), ended: tokio::spawn(async { drop(connection.await) }), _client: client }
        } else {
            let (send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            Kept { send: Send::Http1(send), ended: tokio::spawn(async { drop(connection.await) }), _client: client }
        }
    }

    pub(crate) fn map(&self, entries: &[(&str, &str)]) -> SanMap {
        let entries = entries.iter().map(|(san, agent)| countermark_identity::MapEntry {
            san: (*san).to_owned(),
            agent: (*agent).to_owned(),
            bundle: None,
        });
        SanMap::new(self.ca.trust_domain().clone(), entries).unwrap()
    }
}

pub(crate) fn nobody() -> Arc<Trust> {
    Arc::new(Trust::nobody())
}

pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) acceptor: Acceptor,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

/// A kept connection and the task that runs it.
pub(crate) struct Kept {
    send: Send,
    ended: tokio::task::JoinHandle<()>,
    _client: Client,
}

enum Send {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Kept {
    pub(crate) async fn get(&mut self, path: &str) -> Result<Response<Incoming>, hyper::Error> {
        let uri = match self.send {
            Send::Http1(_) => path.to_owned(),
            Send::Http2(_) => format!("https://localhost{path}"),
        };
        let request = Request::get(uri).header("host", "localhost").body(Full::default()).unwrap();
        match &mut self.send {
            Send::Http1(send) => send.send_request(request).await,
            Send::Http2(send) => send.send_request(request).await,
        }
    }

    pub(crate) async fn text(&mut self, path: &str) -> String {
        text(self.get(path).await.unwrap()).await
    }

    /// Waits until the other side has closed the connection, no longer than a right may linger.
    pub(crate) async fn closes_soon(self) {
        tokio::time::timeout(SOON, self.ended).await.expect("still open after a second").unwrap();
    }
}

pub(crate) async fn text<B: Body>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(crate) fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

/// `/who` and `/serial` answer at once, `/stream` begins and goes on as long as the test wants.
#[derive(Clone)]
struct Answers(Streams);

impl tower_service::Service<Request<Incoming>> for Answers {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let peer = request.extensions().get::<VerifiedPeer>().unwrap();
        let answer = match request.uri().path() {
            "/who" => Answer::Text(Some(peer.agent().to_string().into())),
            "/serial" => Answer::Text(Some(peer.leaf().serial().to_string().into())),
            "/stream" => {
                let (send, receive) = mpsc::unbounded_channel();
                send.send(Bytes::from_static(b"begun")).unwrap();
                self.0.lock().unwrap().push(send);
                Answer::Stream(receive)
            }
            _ => Answer::Text(None),
        };
        std::future::ready(Ok(Response::new(answer)))
    }
}

enum Answer {
    Text(Option<Bytes>),
    Stream(mpsc::UnboundedReceiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Stream(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }
}

/// Knocks with a client that follows no rules: what the acceptor says, and what the knocker hears.
pub(crate) async fn knock(
    acceptor: &Acceptor,
    minted: Option<Minted>,
) -> (Result<VerifiedPeer, HandshakeError>, Option<AlertDescription>) {
    knock_as(acceptor, anyone(minted)).await
}

pub(crate) async fn knock_as<C: Caller>(
    acceptor: &Acceptor<C>,
    config: rustls::ClientConfig,
) -> (Result<C::Evidence, HandshakeError>, Option<AlertDescription>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let server = async { acceptor.accept(far, remote).await.map(|stream| stream.peer().clone()) };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        match TlsConnector::from(Arc::new(config)).connect(name, near).await {
            Ok(mut stream) => stream.read_u8().await.err(),
            Err(error) => Some(error),
        }
    };
    let (accepted, heard) = tokio::join!(server, client);
    let alert = heard.and_then(|error| match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    });
    (accepted, alert)
}

pub(crate) async fn next_event(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("no event");
    frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
}
