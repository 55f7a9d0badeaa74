use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::*;
use countermark_proxy::guard::Upstream;

/// An upstream that reads a request and then writes these bytes.
async fn raw(answer: &'static [u8], close: bool) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
                if !close {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    Upstream::Http { url }
}

async fn call_through(upstream: Upstream) -> Answer {
    let estate = Estate::new();
    let mut config = estate.config(upstream);
    config.limits.upstream_headers = Duration::from_millis(500);
    config.limits.upstream_body = Duration::from_millis(500);
    let guard = estate.serve(config).await;
    let begun = Instant::now();
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/list", json!({})).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "never hangs");
    answer
}

fn assert_failed(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["id"], 1);
    assert_eq!(answer.json()["error"]["code"], -32603);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let answer = call_through(Upstream::Http { url: format!("http://127.0.0.1:{port}/mcp") }).await;
    assert_failed(&answer, StatusCode::BAD_GATEWAY);
    assert!(!answer.text.contains("127.0.0.1"), "the caller does not learn what stands behind");
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_504() {
    assert_failed(&call_through(raw(b"", false).await).await, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_upstream_that_resets_is_502() {
    assert_failed(&call_through(raw(b"", true).await).await, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_upstream_that_answers_garbage_is_502() {
    assert_failed(&call_through(raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", true).await).await, StatusCode::BAD_GATEWAY);
    let html = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<p>hi";
    assert_failed(&call_through(raw(html, true).await).await, StatusCode::BAD_GATEWAY);
    let gzip =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
    assert_failed(&call_through(raw(gzip, true).await).await, StatusCode::BAD_GATEWAY);
    let redirect = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n";
    assert_failed(&call_through(raw(redirect, true).await).await, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_list_that_is_not_json_never_reaches_the_agent() {
    let lie = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\nnot json!";
    let answer = call_through(raw(lie, true).await).await;
    assert!(!answer.text.contains("not json!"), "{}", answer.text);
    assert!(answer.status.is_server_error() || answer.json().get("error").is_some());
}

#[tokio::test]
async fn a_list_that_stalls_in_the_middle_does_not_hang() {
    let stalled = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"jsonrpc\"";
    let answer = call_through(raw(stalled, false).await).await;
    assert!(answer.status.is_server_error() || answer.json().get("error").is_some(), "{}", answer.text);
}

#[tokio::test]
async fn a_hundred_megabytes_pass_as_a_call_and_fail_as_a_list() {
    let estate = Estate::new();
    let upstream = Fake::new(|request| async move {
        let is_list = request.headers()["mcp-method"] == "tools/list";
        let text = vec![b'a'; 100 << 20];
        let head: &[u8] = if is_list {
            br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":""#
        } else {
            br#"{"jsonrpc":"2.0","id":1,"result":{"x":""#
        };
        let tail: &[u8] = if is_list { br#""}]}}"# } else { br#""}}"# };
        let body = Full::from(Bytes::from([head, &text, tail].concat())).boxed_unsync();
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    })
    .await;
    let guard = estate.guard(&upstream).await;
    let billing = estate.client("billing-bot");
    let listed = billing.modern(&guard.url, "tools/list", json!({})).await;
    assert!(listed.text.len() < 1 << 20 && (listed.status.is_server_error() || listed.json().get("error").is_some()));
    let called = billing.modern(&guard.url, "tools/call", json!({"name": "read_all"})).await;
    assert_eq!(called.status, StatusCode::OK);
    assert!(called.text.len() > 100 << 20);
}

/// An upstream with this certificate, on `https://localhost`.
async fn over_tls(minted: countermark_testkit::Minted) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(countermark_testkit::any_server(minted)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let body = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Upstream::Http { url }
}

#[tokio::test]
async fn an_https_upstream_must_be_a_server_of_the_trust_domain() {
    let estate = Estate::new();
    let other = countermark_testkit::TestCa::new(TRUST_DOMAIN);
    let cases = [
        (estate.ca.mint(&estate.ca.server_spec("backend")), true),
        (estate.ca.mint(&estate.ca.agent_spec("backend").dns("localhost")), false),
        (
            estate.ca.mint(&countermark_testkit::Spec::uri("spiffe://agents.internal/server/backend").dns("elsewhere")),
            false,
        ),
        (other.mint(&other.server_spec("backend")), false),
    ];
    for (number, (minted, right)) in cases.into_iter().enumerate() {
        let guard = estate.serve(estate.config(over_tls(minted).await)).await;
        let answer = estate.client("billing-bot").modern(&guard.url, "tools/list", json!({})).await;
        assert_eq!(answer.status == StatusCode::OK, right, "{number}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_upstream_on_a_unix_socket_serves() {
    let estate = Estate::new();
    let socket = estate.path("upstream.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let body = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let guard = estate.serve(estate.config(Upstream::Unix { socket, path: "/mcp".to_owned() })).await;
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/list", json!({})).await;
    assert_eq!(answer.json()["result"]["tools"], json!([]));
}
