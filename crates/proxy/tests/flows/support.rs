//! An estate in a temporary directory, an upstream that does as it is told, and a client.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countermark_credential::directory::{Delivery, DomainCrls, deliver, deliver_trust};
use countermark_credential::{Credential, Source};
use countermark_identity::Clock;
use countermark_mtls::{Client, ClientBody, ClientConfig, ExpectedServer};
use countermark_proxy::guard::{AuditSink, Guard, GuardConfig, Upstream};
use countermark_testkit::{TestCa, TestTrust};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const TRUST_DOMAIN: &str = "agents.internal";

pub const POLICY: &str = r#"
version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["*"]
prompts = ["*"]
resources = ["*"]

[[grant]]
who = ["intern-bot", "connect-bot"]
servers = ["ledger"]
tools = ["read_*"]
"#;

/// An authority, the directories of its identities, and a policy file.
pub struct Estate {
    pub dir: TempDir,
    pub ca: TestCa,
    trust: TestTrust,
}

/// A guard that is being served.
pub struct Served {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub url: String,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Estate {
    pub fn new() -> Self {
        Self::of(TestCa::new(TRUST_DOMAIN))
    }

    /// By the wall clock, for programs that know no other.
    pub fn of_today() -> Self {
        let now = countermark_identity::SystemClock.now();
        Self::of(TestCa::with_clock(TRUST_DOMAIN, countermark_testkit::MockClock::at(now)))
    }

    fn of(ca: TestCa) -> Self {
        let kept = countermark_testkit::is_kept();
        let dir = tempfile::Builder::new().disable_cleanup(kept).tempdir().unwrap();
        let trust = ca.trusted();
        let estate = Self { dir, ca, trust };
        estate.write_policy(POLICY);
        estate.deliver("ledger", estate.ca.server("ledger"));
        estate
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_policy(&self, text: &str) {
        let temporary = self.path("policy.toml.new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.path("policy.toml")).unwrap();
    }

    pub fn deliver(&self, name: &str, credential: Arc<Credential>) -> PathBuf {
        let dir = self.path(name);
        let delivery = Delivery { credential, bundles: vec![self.ca.bundle()], crls: self.crls() };
        deliver(&dir, &delivery, self.ca.clock().now()).unwrap();
        dir
    }

    pub fn agent_dir(&self, name: &str) -> PathBuf {
        self.deliver(name, self.ca.agent(name))
    }

    pub fn trust(&self) -> &TestTrust {
        &self.trust
    }

    fn crls(&self) -> Vec<DomainCrls> {
        vec![DomainCrls { trust_domain: self.ca.trust_domain().clone(), crls: self.ca.crls() }]
    }

    /// Puts a credential on the list and the list into guard's directory.
    pub fn revoke(&self, credential: &Credential) {
        self.ca.revoke(credential);
        deliver_trust(&self.path("ledger"), &[self.ca.bundle()], &self.crls()).unwrap();
    }

    pub fn config(&self, upstream: Upstream) -> GuardConfig {
        let mut config =
            GuardConfig::new("127.0.0.1:0".parse().unwrap(), upstream, self.path("ledger"), self.path("policy.toml"));
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        config.audit = AuditSink::File(self.path("audit.jsonl"));
        config
    }

    pub async fn serve(&self, config: GuardConfig) -> Served {
        let guard = Guard::bind_at(config, Arc::new(self.ca.clock().clone())).await.unwrap();
        let (addr, admin, url) = (guard.addr(), guard.admin_addr().unwrap(), guard.url().to_owned());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { guard.serve(stop).await.unwrap() });
        Served { addr, admin, url, shutdown, task }
    }

    pub async fn guard(&self, upstream: &Fake) -> Served {
        self.serve(self.config(upstream.upstream())).await
    }

    pub fn client(&self, agent: &str) -> Caller {
        self.client_with(self.ca.agent(agent), true)
    }

    pub fn client_with(&self, credential: Arc<Credential>, http2: bool) -> Caller {
        let config = ClientConfig { http2, ..ClientConfig::default() };
        let clock = Arc::new(self.ca.clock().clone());
        let expected = ExpectedServer::Name("ledger".to_owned());
        let source = TestCa::source(credential);
        let client = Client::new(source.watch(), self.trust.generations(), expected, clock, config).unwrap();
        Caller { client, session: None }
    }

    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An agent's HTTP client.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    pub session: Option<String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// The data of each event.
    pub fn events(&self) -> Vec<Value> {
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The answer to `id`, as JSON or among events.
    pub fn answer(&self, id: &Value) -> Value {
        if self.headers["content-type"] == "application/json" {
            return self.json();
        }
        self.events().into_iter().find(|event| event["id"] == *id && event.get("method").is_none()).unwrap()
    }
}

impl Caller {
    pub async fn open(
        &self,
        url: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<ClientBody> {
        self.try_open(url, method, headers, body).await.unwrap()
    }

    pub async fn try_open(
        &self,
        url: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Response<ClientBody>, countermark_mtls::ClientError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        self.client.request(request.body(Full::from(body)).unwrap()).await
    }

    pub async fn send(&self, url: &str, method: Method, headers: &[(&str, &str)], body: String) -> Answer {
        let response = self.open(url, method, headers, body).await;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Of the stateless era.
    pub async fn modern(&self, url: &str, method: &str, params: Value) -> Answer {
        let (headers, body) = modern(1, method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.send(url, Method::POST, &headers, body).await
    }

    /// Of the older era.
    pub async fn legacy(&self, url: &str, message: Value) -> Answer {
        let headers =
            [("content-type", "application/json"), ("accept", ACCEPT), ("mcp-protocol-version", "2025-11-25")];
        self.send(url, Method::POST, &headers, message.to_string()).await
    }

    pub async fn initialize(&mut self, url: &str) -> Answer {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"sampling": {}}, "clientInfo": {"name": "test", "version": "0"}});
        let headers = [("content-type", "application/json"), ("accept", ACCEPT)];
        let body = json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params}).to_string();
        let answer = self.send(url, Method::POST, &headers, body).await;
        self.session = answer.headers.get("mcp-session-id").map(|session| session.to_str().unwrap().to_owned());
        answer
    }
}

pub const ACCEPT: &str = "application/json, text/event-stream";

pub fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// A request of the stateless era with its headers.
pub fn modern(id: impl Into<Value>, method: &str, mut params: Value) -> (Vec<(String, String)>, String) {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let own = params["_meta"].take();
    params["_meta"] = meta;
    for (key, value) in own.as_object().into_iter().flatten() {
        params["_meta"][key] = value.clone();
    }
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("accept".to_owned(), ACCEPT.to_owned()),
        ("mcp-protocol-version".to_owned(), "2026-07-28".to_owned()),
        ("mcp-method".to_owned(), method.to_owned()),
    ];
    if let Some(name) = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str) {
        headers.push(("mcp-name".to_owned(), name.to_owned()));
    }
    (headers, json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params}).to_string())
}

pub type FakeBody = UnsyncBoxBody<Bytes, Infallible>;
type Respond = dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<FakeBody>> + Send>> + Send + Sync;

/// An upstream on loopback, and what it saw.
pub struct Fake {
    pub addr: SocketAddr,
    pub seen: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Fake {
    pub async fn new<F, R>(respond: F) -> Self
    where
        F: Fn(Request<Bytes>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<FakeBody>> + Send + 'static,
    {
        let respond: Arc<Respond> = Arc::new(move |request| Box::pin(respond(request)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (respond, log) = (Arc::clone(&respond), Arc::clone(&log));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (respond, log) = (Arc::clone(&respond), Arc::clone(&log));
                    async move {
                        let (parts, body) = request.into_parts();
                        let request = Request::from_parts(parts, body.collect().await.unwrap().to_bytes());
                        log.lock().unwrap().push(request.clone());
                        Ok::<_, Infallible>(respond(request).await)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { addr, seen }
    }

    /// A small MCP server: lists three tools, calls them, opens sessions.
    pub async fn ledger() -> Self {
        Self::new(|request| async move { ledger(&request) }).await
    }

    pub fn upstream(&self) -> Upstream {
        Upstream::Http { url: format!("http://{}/mcp", self.addr) }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub fn json_response(value: &Value) -> Response<FakeBody> {
    let body = Full::from(value.to_string()).boxed_unsync();
    Response::builder().header("content-type", "application/json").header("set-cookie", "a=b").body(body).unwrap()
}

pub fn ledger(request: &Request<Bytes>) -> Response<FakeBody> {
    let Ok(message) = serde_json::from_slice::<Value>(request.body()) else {
        return Response::builder().status(204).body(Full::default().boxed_unsync()).unwrap();
    };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "ledger", "version": "1"}})
        }
        "tools/list" => {
            let tools = ["read_balance", "post_entry", "drop_ledger"]
                .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
            json!({"tools": tools})
        }
        "tools/call" => json!({"content": [{"type": "text", "text": message["params"]["name"]}]}),
        _ => json!({}),
    };
    if message.get("id").is_none() {
        return Response::builder().status(202).body(Full::default().boxed_unsync()).unwrap();
    }
    let mut response = json_response(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
    if message["method"] == "initialize" {
        response.headers_mut().insert("mcp-session-id", "session-1".parse().unwrap());
    }
    response
}

/// Reads `url` in plain HTTP.
pub async fn get(addr: SocketAddr, path: &str) -> (StatusCode, String) {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri(path).header("host", addr.to_string()).body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Waits until `holds`, for at most five seconds.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(5), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("in time");
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows").join(name)
}

/// Says that this test is left out, past the capture of output, in the words that `cargo xtask test` counts.
pub fn skip(why: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let _ = writeln!(std::io::stdout(), "\nSKIP {}: {why}", thread.name().unwrap_or("a test"));
}
