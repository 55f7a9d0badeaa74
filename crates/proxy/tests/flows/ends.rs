use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::support::*;

/// A ledger whose GET stream and `read_stream` never end.
async fn streaming() -> Fake {
    Fake::new(|request| async move {
        let body = std::str::from_utf8(request.body()).unwrap_or_default();
        if request.method() == Method::GET || body.contains("read_stream") {
            let events = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let event = Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"x\"}}\n\n");
                Some((Ok(Frame::data(event)), ()))
            });
            return Response::builder().header("content-type", "text/event-stream").body(StreamBody::new(events).boxed_unsync()).unwrap();
        }
        let message: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let mut response = json_response(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}));
        if body.contains("slow") {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        response.headers_mut().insert("mcp-session-id", "s".parse().unwrap());
        response
    })
    .await
}

/// Opens a stream, checks that it flows, does `end`, and demands that it ends within 1.5 s; on both HTTP versions.
async fn cut(end: impl Fn(&Estate, &countermark_credential::Credential)) {
    for http2 in [false, true] {
        let estate = Estate::new();
        let upstream = streaming().await;
        let guard = estate.guard(&upstream).await;
        let credential = estate.ca.agent("intern-bot");
        let intern = estate.client_with(credential.clone(), http2);
        let (headers, body) = modern(1, "tools/call", json!({"name": "read_stream"}));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut stream = intern.open(&guard.url, Method::POST, &headers, body).await.into_body();
        for _ in 0..5 {
            stream.frame().await.unwrap().unwrap();
        }
        end(&estate, &credential);
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_secs(5), async { while let Some(Ok(_)) = stream.frame().await {} })
            .await
            .expect("the stream ends");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
        let again = intern
            .try_open(&guard.url, Method::POST, &headers, modern(1, "tools/call", json!({"name": "read_stream"})).1)
            .await;
        if let Ok(again) = again {
            let text = again.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&text).contains("error"), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_policy_change_ends_an_open_stream() {
    cut(|estate, _| estate.write_policy(&POLICY.replace("intern-bot", "somebody-else"))).await;
}

#[tokio::test]
async fn a_revocation_ends_an_open_stream() {
    cut(|estate, credential| estate.revoke(credential)).await;
}

#[tokio::test]
async fn an_expiry_ends_an_open_stream() {
    cut(|estate, _| estate.ca.clock().advance(Duration::from_secs(3700))).await;
}

#[tokio::test]
async fn a_broken_policy_keeps_the_last_good_and_turns_readiness_red() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    assert_eq!(get(guard.admin, "/readyz").await.0, StatusCode::OK, "{}", get(guard.admin, "/readyz").await.1);
    estate.write_policy("version = 1\ntrust_domain = \"agents.internal\"\nnonsense = 1\n");
    until(async || get(guard.admin, "/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
    let (_, text) = get(guard.admin, "/readyz").await;
    assert!(text.contains("nonsense"), "{text}");
    let answer = estate.client("intern-bot").modern(&guard.url, "tools/call", json!({"name": "read_balance"})).await;
    assert!(answer.json().get("result").is_some());
    estate.write_policy(&POLICY.replace("read_*", "write_*"));
    until(async || get(guard.admin, "/readyz").await.0 == StatusCode::OK).await;
    let answer = estate.client("intern-bot").modern(&guard.url, "tools/call", json!({"name": "read_balance"})).await;
    assert!(answer.json().get("error").is_some());
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_takes_no_new_ones() {
    let (estate, upstream) = (Estate::new(), streaming().await);
    let guard = estate.guard(&upstream).await;
    let billing = estate.client("billing-bot");
    let (url, caller) = (guard.url.clone(), billing.clone());
    let slow = tokio::spawn(async move { caller.modern(&url, "tools/call", json!({"name": "slow"})).await });
    until(async || upstream.count() == 1).await;
    guard.shutdown.cancel();
    assert_eq!(slow.await.unwrap().status, StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(5), guard.task).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(guard.addr).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_streams_without_an_end() {
    for http2 in [false, true] {
        let (estate, upstream) = (Estate::new(), streaming().await);
        let guard = estate.guard(&upstream).await;
        let mut billing = estate.client_with(estate.ca.agent("billing-bot"), http2);
        billing.initialize(&guard.url).await;
        let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2025-11-25")];
        let mut stream = billing.open(&guard.url, Method::GET, &headers, String::new()).await.into_body();
        stream.frame().await.unwrap().unwrap();
        guard.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), async { while let Some(Ok(_)) = stream.frame().await {} })
            .await
            .expect("the stream ends");
        tokio::time::timeout(Duration::from_secs(5), guard.task).await.expect("guard ends").unwrap();
    }
}

#[tokio::test]
async fn a_policy_that_grants_nothing_any_more_closes_idle_connections() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let (intern, billing) = (estate.client("intern-bot"), estate.client("billing-bot"));
    for caller in [&intern, &billing] {
        caller.modern(&guard.url, "tools/list", json!({})).await;
    }
    assert!(get(guard.admin, "/metrics").await.1.contains("countermark_guard_connections 2\n"));
    estate.write_policy(&POLICY.replace("intern-bot", "somebody-else"));
    until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_connections 1\n")).await;
    assert!(billing.modern(&guard.url, "tools/list", json!({})).await.json().get("result").is_some());
}
