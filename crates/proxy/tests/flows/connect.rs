use std::sync::Arc;
use std::time::Duration;

use countermark_proxy::connect::{Connect, ConnectConfig, ConnectError, Listen};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::*;
use countermark_proxy::guard::{StdioServer, Upstream};

fn stdio_fixture(era: &str) -> Upstream {
    let path = fixture("fixture.py").display().to_string();
    let mut server = StdioServer::new("python3".into(), vec!["-u".to_owned(), path, era.to_owned()]);
    #[expect(clippy::disallowed_methods, reason = "where python3 is, is the machine's business")]
    server.env.push(("PATH".to_owned(), std::env::var("PATH").unwrap()));
    Upstream::Stdio(server)
}

async fn open(estate: &Estate, guard: &Served, agent: &str) -> Connect {
    let mut config = ConnectConfig::new(guard.url.clone(), estate.agent_dir(agent));
    config.server = Some("ledger".to_owned());
    Connect::open_at(config, Arc::new(estate.ca.clock().clone())).await.unwrap()
}

/// connect between this test and a guard.
pub struct Host {
    input: Option<WriteHalf<DuplexStream>>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    task: JoinHandle<Result<(), ConnectError>>,
}

impl Host {
    pub fn start(connect: Connect) -> Self {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (far_input, far_output) = split(far);
        let (output, input) = split(near);
        let task = tokio::spawn(connect.stdio(far_input, far_output, CancellationToken::new()));
        Self { input: Some(input), output: BufReader::new(output).lines(), task }
    }

    async fn say(&mut self, message: &Value) {
        self.input.as_mut().unwrap().write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(10), self.output.next_line()).await.expect("an answer");
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    }

    pub async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        loop {
            let heard = self.hear().await;
            if heard["id"] == message["id"] {
                return heard;
            }
        }
    }

    pub async fn initialize(&mut self) -> Value {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}});
        let answer = self.ask(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    pub async fn end(mut self) {
        let mut input = self.input.take().unwrap();
        input.shutdown().await.unwrap();
        drop(input);
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("ends").unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_host_of_the_older_era_is_carried_from_initialize_to_delete() {
    let estate = Estate::new();
    let guard = estate.serve(estate.config(stdio_fixture("legacy"))).await;
    let mut host = Host::start(open(&estate, &guard, "billing-bot").await);
    assert_eq!(host.initialize().await["result"]["serverInfo"]["name"], "fixture");
    assert_eq!(host.ask(&call("a", "echo", json!({"text": "hi"}))).await["result"]["content"][0]["text"], "hi");
    let mut progress = call("p", "progress", json!({"text": "done"}));
    progress["params"]["_meta"] = json!({"progressToken": 7});
    host.say(&progress).await;
    for step in 0..3 {
        let event = host.hear().await;
        assert_eq!((&event["params"]["progressToken"], &event["params"]["progress"]), (&json!(7), &json!(step)));
    }
    assert_eq!(host.hear().await["id"], "p");
    host.say(&call("q", "ask", json!({}))).await;
    let asked = host.hear().await;
    assert_eq!(asked["method"], "sampling/createMessage");
    host.say(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"answer": 42}})).await;
    let answer = host.hear().await;
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("42"), "{answer}");
    assert!(get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 1\n"));
    host.end().await;
    until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 0\n")).await;
}

#[tokio::test]
async fn a_stateless_host_has_its_headers_made() {
    let estate = Estate::new();
    let upstream = Fake::ledger().await;
    let guard = estate.guard(&upstream).await;
    let mut host = Host::start(open(&estate, &guard, "connect-bot").await);
    let (_, message) = modern("m", "tools/call", json!({"name": "read_bücher"}));
    let answer = host.ask(&serde_json::from_str(&message).unwrap()).await;
    assert_eq!(answer["result"]["content"][0]["text"], "read_bücher", "{answer}");
    let seen = upstream.seen.lock().unwrap().pop().unwrap();
    assert_eq!(seen.headers()["mcp-method"], "tools/call");
    assert_eq!(seen.headers()["mcp-protocol-version"], "2026-07-28");
    let (_, denied) = modern("d", "tools/call", json!({"name": "post_entry"}));
    assert_eq!(host.ask(&serde_json::from_str(&denied).unwrap()).await["error"]["code"], -32602);
    host.end().await;
}

#[tokio::test]
async fn a_host_of_the_older_era_reaches_a_server_of_the_newer_alone() {
    let estate = Estate::new();
    let guard = estate.serve(estate.config(stdio_fixture("modern"))).await;
    let mut host = Host::start(open(&estate, &guard, "billing-bot").await);
    let answer = host.initialize().await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
    assert_eq!(host.ask(&call(1, "echo", json!({"text": "hi"}))).await["result"]["content"][0]["text"], "hi");
    assert_eq!(host.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await["result"], json!({}));
    host.end().await;
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_opened_again() {
    let estate = Estate::new();
    let Upstream::Stdio(mut server) = stdio_fixture("legacy") else { unreachable!() };
    // The second process has this long for its start and its answer, too.
    server.limits.wall = Some(Duration::from_secs(2));
    let guard = estate.serve(estate.config(Upstream::Stdio(server))).await;
    let mut host = Host::start(open(&estate, &guard, "billing-bot").await);
    host.initialize().await;
    until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 0\n")).await;
    assert_eq!(host.ask(&call("a", "echo", json!({"text": "hi"}))).await["result"]["content"][0]["text"], "hi");
    host.end().await;
}

#[tokio::test]
async fn a_cancelled_request_has_no_answer() {
    let estate = Estate::new();
    let guard = estate.serve(estate.config(stdio_fixture("legacy"))).await;
    let mut host = Host::start(open(&estate, &guard, "billing-bot").await);
    host.initialize().await;
    let mark = estate.path("mark");
    host.say(&call("c", "cancellable", json!({"mark": mark}))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    host.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}})).await;
    until(async || mark.exists()).await;
    assert_eq!(host.ask(&call("after", "echo", json!({"text": "x"}))).await["id"], "after");
    host.end().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_an_answer() {
    let estate = Estate::new();
    let upstream = Fake::ledger().await;
    let guard = estate.guard(&upstream).await;
    let connect = open(&estate, &guard, "connect-bot").await;
    estate.revoke(&countermark_credential::directory::read(&estate.path("connect-bot")).unwrap().credential);
    until(async || {
        let text = get(guard.admin, "/metrics").await.1;
        !text.contains("trust_generation 1\n")
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut host = Host::start(connect);
    let (_, message) = modern("r", "tools/list", json!({}));
    let answer = host.ask(&serde_json::from_str(&message).unwrap()).await;
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("refused our certificate") && text.contains("revoked"), "{text}");
    host.input.as_mut().unwrap().write_all(b"[1,2]\nnot json\n").await.unwrap();
    assert_eq!(host.hear().await["error"]["code"], -32700);
    assert_eq!(host.hear().await["error"]["code"], -32700);
    host.end().await;
}

#[tokio::test]
async fn another_server_than_the_named_one_is_refused() {
    let estate = Estate::new();
    let guard = estate.guard(&Fake::ledger().await).await;
    let mut config = ConnectConfig::new(guard.url.clone(), estate.agent_dir("connect-bot"));
    config.server = Some("payroll".to_owned());
    let connect = Connect::open_at(config, Arc::new(estate.ca.clock().clone())).await.unwrap();
    let mut host = Host::start(connect);
    let (_, message) = modern("r", "tools/list", json!({}));
    let answer = host.ask(&serde_json::from_str(&message).unwrap()).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("ledger"), "{answer}");
}

async fn local(addr: std::net::SocketAddr, headers: &[(&str, String)]) -> (StatusCode, String) {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (own, body) = modern(1, "tools/call", json!({"name": "read_balance"}));
    let mut request = http::Request::post("/mcp");
    for (name, value) in own.iter().map(|(name, value)| (name.as_str(), value.clone())).chain(headers.iter().cloned()) {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_loopback_listener_carries_local_programs_and_no_web_page() {
    let estate = Estate::new();
    let guard = estate.guard(&Fake::ledger().await).await;
    let listening =
        open(&estate, &guard, "connect-bot").await.listen(Listen::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let (addr, url) = (listening.addr().unwrap(), listening.url().to_owned());
    assert_eq!(url, format!("http://{addr}/mcp"));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listening.serve(shutdown.clone()));
    let host = ("host", addr.to_string());
    let (status, text) = local(addr, std::slice::from_ref(&host)).await;
    assert_eq!((status, text.contains("read_balance")), (StatusCode::OK, true), "{text}");
    assert_eq!(local(addr, &[("host", format!("localhost:{}", addr.port()))]).await.0, StatusCode::OK);
    assert_eq!(local(addr, &[("host", format!("evil.example:{}", addr.port()))]).await.0, StatusCode::FORBIDDEN);
    for origin in ["https://evil.example", "null", "http://localhost"] {
        assert_eq!(local(addr, &[host.clone(), ("origin", origin.to_owned())]).await.0, StatusCode::FORBIDDEN);
    }
    let image = ("sec-fetch-site", "cross-site".to_owned());
    assert_eq!(
        local(addr, &[host.clone(), image]).await.0,
        StatusCode::FORBIDDEN,
        "a page's own requests bear no Origin"
    );
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let estate = Estate::new();
    let guard = estate.guard(&Fake::ledger().await).await;
    let error =
        open(&estate, &guard, "connect-bot").await.listen(Listen::Tcp("0.0.0.0:0".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotLoopback { .. }), "{error}");
}

#[tokio::test]
async fn a_unix_listener_is_private_and_replaces_only_a_stale_one() {
    use std::os::unix::fs::PermissionsExt;
    let estate = Estate::new();
    let guard = estate.guard(&Fake::ledger().await).await;
    let path = estate.path("connect.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listening = open(&estate, &guard, "connect-bot").await.listen(Listen::Unix(path.clone())).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = open(&estate, &guard, "connect-bot").await.listen(Listen::Unix(path.clone())).await.unwrap_err();
    assert!(matches!(again, ConnectError::AddressInUse { .. }), "{again}");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listening.serve(shutdown.clone()));
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (headers, body) = modern(1, "tools/call", json!({"name": "read_balance"}));
    let mut request = http::Request::post("/mcp").header("host", "localhost");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(sender);
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
}

/// What a process of this user hears at a socket: the first bytes of an answer, or nothing.
async fn heard_as(user: u32, socket: &std::path::Path) -> String {
    const ASK: &str = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                       try:\n  s.sendall(b'GET /mcp HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n  \
                       print(s.recv(12).decode())\nexcept ConnectionError: pass\n";
    let mut command = tokio::process::Command::new("/usr/bin/python3");
    let ended = command.args(["-c", ASK]).arg(socket).current_dir("/").uid(user).gid(user).output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn another_user_is_refused_at_a_unix_listener_even_where_the_mode_lets_it_in() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/usr/bin/python3").exists() {
        return skip("needs root to be somebody else, and /usr/bin/python3");
    }
    let estate = Estate::new();
    let guard = estate.guard(&Fake::ledger().await).await;
    let path = std::path::Path::new("/tmp").join(format!("countermark-connect-{}.sock", std::process::id()));
    let listening = open(&estate, &guard, "connect-bot").await.listen(Listen::Unix(path.clone())).await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listening.serve(shutdown.clone()));
    assert_eq!(heard_as(0, &path).await.get(..8), Some("HTTP/1.1"), "its own user is heard");
    assert_eq!(heard_as(65534, &path).await, "", "another is not");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
}
