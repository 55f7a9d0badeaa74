//! What is written, what is answered, and what observing relaxes.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::Notify;

use super::harness::*;
use crate::{Audit, AuditLine, DenyStatus, Outcome, Recording};

#[tokio::test]
async fn a_permit_is_written_with_its_rule_and_without_arguments() {
    let world = World::new().await;
    world.post(request("tools/call", r#"{"name":"post_entry","arguments":{"secret":"s3cret"}}"#)).await;
    let line = world.last_line();
    assert_eq!(line["outcome"], "permit");
    assert_eq!(line["agent"], "billing-bot");
    assert_eq!(line["server"], "ledger");
    assert_eq!(line["trust_domain"], "agents.internal");
    assert_eq!(line["method"], "tools/call");
    assert_eq!(line["kind"], "tool");
    assert_eq!(line["name"], "post_entry");
    assert_eq!(line["rule"], "grant 1 (line 5)");
    assert_eq!(line["serial"], world.billing().leaf().serial().to_string());
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    assert!(line["latency_us"].is_u64());
    assert!(!line.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_denial_names_the_decision_and_says_the_same_of_what_does_not_exist() {
    let world = World::new().await;
    for (body, name) in [
        (call("post_entry"), "post_entry"),
        (call("no_such_tool"), "no_such_tool"),
        (request("prompts/get", r#"{"name":"summary"}"#), "summary"),
    ] {
        let answer = world.send(world.intern(), legacy(body)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::OK, Some(-32602)));
        let (line, answer) = (world.last_line(), answer.json());
        let decision = line["decision"].as_str().unwrap();
        assert_eq!(decision.len(), 26);
        assert_eq!(answer["id"], 1);
        assert_eq!(answer["error"]["data"]["decision"], decision);
        assert_eq!(
            answer["error"]["message"],
            format!("`{name}` is not available to `intern-bot` on `ledger` (decision {decision})")
        );
        assert_eq!(line["outcome"], "denied");
    }
    assert_eq!(world.forwarded(), 0);
    world.post(call("drop_all")).await;
    assert_eq!(world.last_line()["rule"], "deny 1 (line 18)");
}

#[tokio::test]
async fn a_denial_can_be_a_403() {
    let world = World::with(|config| config.deny_status = DenyStatus::Forbidden).await;
    let answer = world.send(world.intern(), legacy(call("post_entry"))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, Some(-32602)));
}

#[tokio::test]
async fn who_has_no_grant_gets_nothing_not_even_the_lists() {
    let world = World::new().await;
    world.set_policy(&POLICY.replace("intern-bot", "somebody-else"));
    for body in [
        request("initialize", r#"{"protocolVersion":"2025-11-25"}"#),
        request("ping", "{}"),
        request("tools/list", "{}"),
    ] {
        let answer = world.send(world.intern(), legacy(body)).await;
        assert_eq!(answer.code(), Some(-32602));
        assert!(answer.text.contains("`ledger` is not available to `intern-bot` (decision"), "{answer:?}");
    }
    let notification = legacy(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(world.send(world.intern(), notification).await.status, StatusCode::FORBIDDEN);
    let stream = bodiless(http::Method::GET, &[]);
    assert_eq!(world.send(world.intern(), stream).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn an_unwritable_audit_refuses_everything() {
    let world = World::new().await;
    *world.lines.full.lock().unwrap() = true;
    for body in [call("read_a"), call("drop_all"), "[]".to_owned()] {
        assert_eq!(world.post(body).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn observing_relaxes_grants_and_nothing_else() {
    let world = World::with(|config| config.danger_observe = true).await;
    let answer = world.send(world.intern(), legacy(call("post_entry"))).await;
    assert_eq!(answer.code(), None);
    let line = world.last_line();
    assert_eq!((line["outcome"].as_str(), line["name"].as_str()), (Some("would_deny"), Some("post_entry")));
    assert!(line["reason"].is_string());
    world.sent_on(|seen| assert!(seen.caller.permit().is_none()));
    assert_eq!(world.post(request("vendor/other", "{}")).await.status, StatusCode::OK);
    let before = world.forwarded();
    assert_eq!(world.post(call("drop_all")).await.code(), Some(-32602), "a deny stays a deny");
    assert_eq!(world.post("[]").await.status, StatusCode::BAD_REQUEST);
    let lie = with(call("read_a"), &[("mcp-name", "x")]);
    assert_eq!(world.send(world.billing(), lie).await.code(), Some(-32020));
    let foreign = with(call("read_a"), &[("mcp-session-id", "x")]);
    assert_eq!(world.send(world.billing(), foreign).await.status, StatusCode::NOT_FOUND);
    let resource = request("resources/read", r#"{"uri":"file:///books/../x"}"#);
    assert_eq!(world.post(resource).await.code(), Some(-32602));
    *world.lines.full.lock().unwrap() = true;
    let answer = world.post(call("read_a")).await;
    assert_eq!(
        (answer.status, &answer.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert_eq!(world.forwarded(), before);
}

#[tokio::test]
async fn a_revoked_peer_is_refused_on_its_kept_connection() {
    let world = World::new().await;
    world.billing().end("revoked");
    let answer = world.post(call("read_a")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn a_peer_whose_right_ends_during_the_call_does_not_get_the_answer() {
    let world = World::new().await;
    let peer = world.billing();
    world.upstream_answers(move |_| {
        peer.end("revoked");
        json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":"the books"}}"#)
    });
    let answer = world.post(call("read_a")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!answer.text.contains("the books"));
    assert_eq!(world.last_line()["outcome"], "ended");
}

#[tokio::test]
async fn long_names_are_cut_in_answers_and_lines() {
    let world = World::new().await;
    let answer = world.post(call(&"\u{e9}".repeat(100_000))).await;
    assert!(answer.text.len() < 5000);
    assert!(world.last_line().to_string().len() < 5000);
    let answer = world.post(request(&"\u{e9}".repeat(100_000), "{}")).await;
    assert!(answer.text.len() < 5000);
    assert!(world.last_line().to_string().len() < 8000);
}

/// An audit that writes a permit only when it is told to.
#[derive(Debug, Default)]
struct Slow {
    asked: Notify,
    go: Arc<Notify>,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Audit for Slow {
    fn record(&self, line: &AuditLine<'_>) -> Recording {
        self.outcomes.lock().unwrap().push(line.outcome);
        if line.outcome != Outcome::Permit {
            return Ok(()).into();
        }
        self.asked.notify_one();
        let go = Arc::clone(&self.go);
        Recording::later(async move {
            go.notified().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_right_that_ends_while_the_line_is_written_does_not_go_on() {
    let slow = Arc::new(Slow::default());
    let world = World::with(|config| config.audit = Arc::clone(&slow) as Arc<dyn Audit>).await;
    let during = |change: Box<dyn Fn()>| {
        let (slow, world) = (&slow, &world);
        async move {
            let meanwhile = async {
                slow.asked.notified().await;
                change();
                slow.go.notify_one();
            };
            tokio::join!(world.post(call("read_a")), meanwhile).0
        }
    };
    assert_eq!(during(Box::new(|| ())).await.status, StatusCode::OK);
    assert_eq!(world.forwarded(), 1);
    let policy = POLICY.replace("read_*", "other");
    assert_eq!(during(Box::new(|| world.set_policy(&policy))).await.code(), Some(-32602));
    world.set_policy(POLICY);
    assert_ne!(during(Box::new(|| world.billing().end("revoked"))).await.status, StatusCode::OK);
    assert_eq!(world.forwarded(), 1, "neither was forwarded");
    let outcomes = slow.outcomes.lock().unwrap().clone();
    let (permit, denied, refused) = (Outcome::Permit, Outcome::Denied, Outcome::Refused);
    assert_eq!(outcomes, [permit, permit, denied, permit, refused]);
}
