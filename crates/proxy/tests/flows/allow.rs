use http::{Method, StatusCode};
use serde_json::json;

use crate::support::*;

fn names(answer: &Answer) -> Vec<String> {
    let list = answer.json()["result"]["tools"].clone();
    list.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_agent_calls_what_its_grant_says_and_nothing_else() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    for http2 in [false, true] {
        let billing = estate.client_with(estate.ca.agent("billing-bot"), http2);
        let intern = estate.client_with(estate.ca.agent("intern-bot"), http2);
        let stranger = estate.client_with(estate.ca.agent("nobody-bot"), http2);
        let allowed = billing.modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await;
        assert_eq!(allowed.json()["result"]["content"][0]["text"], "post_entry");
        assert_eq!(names(&billing.modern(&guard.url, "tools/list", json!({})).await).len(), 3);
        assert_eq!(names(&intern.modern(&guard.url, "tools/list", json!({})).await), ["read_balance"]);
        let before = upstream.count();
        let denied = intern.modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await;
        assert_eq!(denied.status, StatusCode::OK);
        assert_eq!(denied.json()["error"]["code"], -32602);
        assert!(
            denied.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("`post_entry` is not available to `intern-bot` on `ledger`")
        );
        let nobody = stranger.modern(&guard.url, "tools/list", json!({})).await;
        assert!(nobody.json().get("error").is_some());
        assert_eq!(upstream.count(), before, "what is denied is not forwarded");
    }
    let audit = estate.audit();
    assert!(
        audit.iter().any(|line| line["outcome"] == "denied" && line["agent"].as_str().unwrap().contains("intern-bot"))
    );
}

#[tokio::test]
async fn the_upstream_sees_its_own_host_one_framing_and_no_claims() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let mut config = estate.config(upstream.upstream());
    config.allow_origins = vec!["https://console.internal".to_owned()];
    let guard = estate.serve(config).await;
    let (headers, body) = modern(1, "tools/call", json!({"name": "read_balance"}));
    let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.extend([
        ("origin", "https://console.internal"),
        ("client-cert", ":AAAA:"),
        ("client_cert", "x"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_client_cert", "x"),
        ("countermark-agent", "admin"),
        ("forwarded", "for=x"),
        ("x-ssl-client-s-dn", "CN=x"),
        ("accept-encoding", "gzip"),
        ("x-kept", "1"),
    ]);
    let answer = estate.client("intern-bot").send(&guard.url, Method::POST, &headers, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(!answer.headers.contains_key("set-cookie"));
    let seen = upstream.seen.lock().unwrap().pop().unwrap();
    for name in [
        "origin",
        "client-cert",
        "client_cert",
        "x-forwarded-for",
        "x_forwarded_client_cert",
        "countermark-agent",
        "forwarded",
        "x-ssl-client-s-dn",
    ] {
        assert!(!seen.headers().contains_key(name), "{name}");
    }
    assert_eq!(seen.headers()["host"], upstream.addr.to_string());
    assert_eq!(seen.headers()["accept-encoding"], "identity");
    assert_eq!(seen.headers()["x-kept"], "1");
    assert_eq!(seen.headers()["content-length"], seen.body().len().to_string());
    assert!(!seen.headers().contains_key("transfer-encoding"));
}

#[tokio::test]
async fn the_upstream_learns_who_calls_only_if_asked_to() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let mut config = estate.config(upstream.upstream());
    config.forward_identity = true;
    let guard = estate.serve(config).await;
    estate.client("intern-bot").modern(&guard.url, "tools/list", json!({})).await;
    let seen = upstream.seen.lock().unwrap().pop().unwrap();
    assert_eq!(seen.headers()["countermark-agent"], "intern-bot");
    let leaf = seen.headers()["client-cert"].to_str().unwrap();
    assert!(leaf.starts_with(":MII") && leaf.ends_with(':'));
}

#[tokio::test]
async fn other_paths_are_told_the_right_url() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let other = guard.url.replace("/mcp", "/elsewhere");
    let answer = estate.client("intern-bot").send(&other, Method::POST, &[], String::new()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains(&guard.url), "{}", answer.text);
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_body_was_not_read() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let elsewhere = guard.url.replace("/mcp", "/elsewhere");
    for http2 in [false, true] {
        let caller = estate.client_with(estate.ca.agent("billing-bot"), http2);
        for round in 0..5 {
            let body = "x".repeat(3 << 20);
            let lost = caller.send(&elsewhere, Method::POST, &[], body).await;
            assert_eq!(lost.status, StatusCode::NOT_FOUND, "{round}");
            let long = "x".repeat(6 << 20);
            let headers = [("content-type", "application/json"), ("accept", ACCEPT)];
            let too_long = caller.send(&guard.url, Method::POST, &headers, long).await;
            assert_eq!(too_long.status, StatusCode::PAYLOAD_TOO_LARGE, "{round}");
            let page = [("content-type", "application/json"), ("accept", ACCEPT), ("origin", "https://evil.example")];
            let refused = caller.send(&guard.url, Method::POST, &page, "x".repeat(2 << 20)).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{round}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

/// curl reports any reset of the stream, where a lenient client has its answer already.
#[tokio::test]
async fn an_early_answer_is_followed_by_no_reset() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: no curl");
        return;
    }
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let dir = estate.agent_dir("billing-bot");
    let body = estate.path("body");
    for (version, bytes) in [("--http1.1", 2), ("--http1.1", 3 << 20), ("--http2", 2), ("--http2", 3 << 20)] {
        std::fs::write(&body, "x".repeat(bytes)).unwrap();
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", version, "-X", "POST", "-H", "Expect:", "--data-binary"]).arg(format!("@{}", body.display()));
        for (flag, file) in [("--cert", "tls.crt"), ("--key", "tls.key"), ("--cacert", "ca.crt")] {
            curl.arg(flag).arg(dir.join(file));
        }
        let output = curl.arg(guard.url.replace("/mcp", "/elsewhere")).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version} {bytes}: {error}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("nothing is served here"));
    }
}

#[tokio::test]
async fn a_session_belongs_to_the_agent_that_opened_it() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let mut billing = estate.client("billing-bot");
    billing.initialize(&guard.url).await;
    assert!(billing.session.is_some());
    assert_eq!(billing.legacy(&guard.url, call(1, "read_balance", json!({}))).await.status, StatusCode::OK);
    let mut thief = estate.client("intern-bot");
    thief.session = billing.session.clone();
    let before = upstream.count();
    assert_eq!(thief.legacy(&guard.url, call(1, "read_balance", json!({}))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(thief.send(&guard.url, Method::DELETE, &[], String::new()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(upstream.count(), before);
    // A new certificate of the same agent carries on.
    let mut renewed = estate.client("billing-bot");
    renewed.session = billing.session.clone();
    assert_eq!(renewed.legacy(&guard.url, call(1, "read_balance", json!({}))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn observing_lets_pass_what_lacks_a_grant_and_relaxes_nothing_else() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    estate.write_policy(&format!("{POLICY}\n[[deny]]\nwho = [\"*\"]\nservers = [\"*\"]\ntools = [\"drop_*\"]\n"));
    let mut config = estate.config(upstream.upstream());
    config.danger_observe = true;
    let guard = estate.serve(config).await;
    let intern = estate.client("intern-bot");
    assert!(
        intern.modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await.json().get("result").is_some()
    );
    assert!(
        intern.modern(&guard.url, "tools/call", json!({"name": "drop_ledger"})).await.json().get("error").is_some()
    );
    let (headers, _) = modern(1, "tools/call", json!({"name": "read_balance"}));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (_, lie) = modern(1, "tools/call", json!({"name": "post_entry"}));
    assert_eq!(intern.send(&guard.url, Method::POST, &headers, lie).await.status, StatusCode::BAD_REQUEST);
    assert!(estate.audit().iter().any(|line| line["outcome"] == "would_deny"));
    assert!(get(guard.admin, "/metrics").await.1.contains("countermark_guard_danger_observe 1"));
}
