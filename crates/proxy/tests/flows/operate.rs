use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use countermark_identity::Clock;
use countermark_proxy::guard::{AuditSink, Guard, GuardError, StdioServer, Upstream};
use http::StatusCode;
use serde_json::json;

use crate::support::*;

async fn refused(estate: &Estate, change: impl FnOnce(&mut countermark_proxy::GuardConfig)) -> GuardError {
    let mut config = estate.config(Upstream::Http { url: "http://127.0.0.1:1/mcp".to_owned() });
    change(&mut config);
    Guard::bind_at(config, Arc::new(estate.ca.clock().clone())).await.unwrap_err()
}

#[tokio::test]
async fn probes_and_metrics_tell_the_state() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    estate.client("billing-bot").modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await;
    estate.client("intern-bot").modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await;
    assert_eq!(get(guard.admin, "/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(get(guard.admin, "/readyz").await.0, StatusCode::OK);
    assert_eq!(get(guard.admin, "/else").await.0, StatusCode::NOT_FOUND);
    let (_, text) = get(guard.admin, "/metrics").await;
    for line in [
        "countermark_guard_decisions_total{outcome=\"permit\",kind=\"tool\"} 1",
        "countermark_guard_decisions_total{outcome=\"denied\",kind=\"tool\"} 1",
        "countermark_guard_handshakes_total{reason=\"ok\"} 2",
        "countermark_guard_danger_observe 0",
        "countermark_guard_ready 1",
        "countermark_guard_policy_generation 1",
        "countermark_guard_request_seconds_count 2",
        "countermark_guard_crl_next_update_seconds{trust_domain=\"agents.internal\"}",
        "countermark_guard_credential_not_after_seconds",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    estate.ca.clock().advance(std::time::Duration::from_secs(3700));
    assert!(estate.ca.clock().now().as_secs() > 0);
    assert_eq!(get(guard.admin, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_audit_is_private_one_line_a_decision_and_without_arguments() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let guard = estate.guard(&upstream).await;
    let arguments = json!({"name": "post_entry", "arguments": {"iban": "DE00SECRET"}});
    estate.client("billing-bot").modern(&guard.url, "tools/call", arguments).await;
    let path = estate.path("audit.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(path).unwrap().contains("SECRET"));
    let line = estate.audit().pop().unwrap();
    assert_eq!((line["outcome"].as_str(), line["name"].as_str()), (Some("permit"), Some("post_entry")));
}

#[tokio::test]
async fn an_audit_that_cannot_be_written_refuses_the_call() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let mut config = estate.config(upstream.upstream());
    config.audit = AuditSink::File("/dev/full".into());
    let guard = estate.serve(config).await;
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/call", json!({"name": "post_entry"})).await;
    assert!(answer.json().get("error").is_some());
    assert_eq!(upstream.count(), 0);
    assert!(get(guard.admin, "/metrics").await.1.contains("countermark_guard_audit_failures_total 1"));
    let (status, reason) = get(guard.admin, "/readyz").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && reason.contains("audit"), "{reason}");
    estate.ca.clock().advance(std::time::Duration::from_secs(30));
    assert_eq!(get(guard.admin, "/readyz").await.0, StatusCode::OK, "only another call can tell");
}

#[tokio::test]
async fn what_is_wrong_at_the_start_is_said_with_its_remedy() {
    let estate = Estate::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    let error = refused(&estate, |config| config.listen = taken).await;
    assert!(matches!(error, GuardError::AddressInUse { flag: "--listen", .. }), "{error}");
    drop(holder);
    let agent = estate.agent_dir("intern-bot");
    assert!(matches!(refused(&estate, |config| config.identity = agent).await, GuardError::NotAServer { .. }));
    let nowhere = estate.path("nowhere");
    assert!(matches!(refused(&estate, |config| config.identity = nowhere.clone()).await, GuardError::Identity { .. }));
    assert!(matches!(
        refused(&estate, |config| config.policy = nowhere.clone()).await,
        GuardError::PolicyUnreadable { .. }
    ));
    assert!(matches!(
        refused(&estate, |config| config.audit = AuditSink::File(nowhere.join("a"))).await,
        GuardError::Audit { .. }
    ));
    let remote = Upstream::Http { url: "http://10.0.0.1/mcp".to_owned() };
    assert!(matches!(refused(&estate, |config| config.upstream = remote).await, GuardError::Upstream { .. }));
    let mut server = StdioServer::new("/bin/true".into(), Vec::new());
    server.user = Some("no-such-user".to_owned());
    assert!(matches!(
        refused(&estate, |config| config.upstream = Upstream::Stdio(server)).await,
        GuardError::Upstream { .. }
    ));
    estate.write_policy("version = 1\ntrust_domain = \"elsewhere\"\n");
    assert!(matches!(refused(&estate, |_| ()).await, GuardError::TrustDomain { .. }));
    estate.write_policy("version = 1\ntrust_domain = \"agents.internal\"\nwho = 1\n");
    let error = refused(&estate, |_| ()).await.to_string();
    assert!(error.contains("policy.toml") && error.contains("who"), "{error}");
}

#[tokio::test]
async fn more_requests_than_may_be_are_refused_at_once() {
    let estate = Estate::new();
    let upstream = Fake::new(|_| async { std::future::pending().await }).await;
    let mut config = estate.config(upstream.upstream());
    config.limits.requests = 2;
    let guard = estate.serve(config).await;
    for agent in ["billing-bot", "intern-bot"] {
        let (caller, url) = (estate.client(agent), guard.url.clone());
        tokio::spawn(async move { caller.modern(&url, "tools/call", json!({"name": "read_a"})).await });
    }
    until(async || upstream.count() == 2).await;
    let refused = estate.client("connect-bot").modern(&guard.url, "tools/call", json!({"name": "read_a"})).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn one_agent_does_not_shut_the_others_out() {
    let hanging = |request: http::Request<bytes::Bytes>| async move {
        let message: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        if message["params"]["name"] == "read_forever" {
            std::future::pending::<()>().await;
        }
        json_response(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}}))
    };
    let (estate, upstream) = (Estate::new(), Fake::new(hanging).await);
    let mut config = estate.config(upstream.upstream());
    config.limits.requests = 8;
    let guard = estate.serve(config).await;
    let (intern, billing) = (estate.client("intern-bot"), estate.client("billing-bot"));
    for _ in 0..2 {
        let (intern, url) = (intern.clone(), guard.url.clone());
        tokio::spawn(async move { intern.modern(&url, "tools/call", json!({"name": "read_forever"})).await });
    }
    until(async || upstream.count() == 2).await;
    let third = intern.modern(&guard.url, "tools/call", json!({"name": "read_a"})).await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE, "a quarter is all that one agent holds");
    let other = billing.modern(&guard.url, "tools/call", json!({"name": "read_a"})).await;
    assert_eq!(other.status, StatusCode::OK);
}
