//! Sessions, tasks and server requests belong to one identity.

use http::{Method, StatusCode};

use super::harness::*;

const SESSION: (&str, &str) = ("mcp-session-id", "s1");

async fn in_session() -> World {
    let world = World::new().await;
    world.upstream_answers(|seen| {
        let mut response = ok();
        if seen.body.windows(10).any(|window| window == b"initialize") {
            response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
        }
        response
    });
    let answer = world.post(request("initialize", r#"{"protocolVersion":"2025-11-25"}"#)).await;
    assert_eq!(answer.headers["mcp-session-id"], "s1");
    world
}

#[tokio::test]
async fn a_session_belongs_to_the_identity_that_opened_it() {
    let world = in_session().await;
    let before = world.forwarded();
    for request in
        [with(call("read_a"), &[SESSION]), bodiless(Method::GET, &[SESSION]), bodiless(Method::DELETE, &[SESSION])]
    {
        let answer = world.send(world.intern(), request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(world.last_line()["outcome"], "refused");
    }
    let unknown = world.send(world.billing(), with(call("read_a"), &[("mcp-session-id", "s2")])).await;
    let foreign = world.send(world.intern(), with(call("read_a"), &[SESSION])).await;
    assert_eq!(unknown.text, foreign.text, "foreign and unknown look the same");
    assert_eq!(world.forwarded(), before);
    assert_eq!(world.send(world.billing(), with(call("read_a"), &[SESSION])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn rotation_does_not_end_a_session() {
    let world = in_session().await;
    let again = countermark_testkit::pair(&world.ca, "billing-bot", "ledger").await;
    let renewed = again.server.peer().clone();
    assert_ne!(renewed.leaf().serial(), world.billing().leaf().serial());
    assert_eq!(world.send(renewed, with(call("read_a"), &[SESSION])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_session_is_gone() {
    let world = in_session().await;
    assert_eq!(world.send(world.billing(), bodiless(Method::DELETE, &[SESSION])).await.status, StatusCode::OK);
    let answer = world.send(world.billing(), with(call("read_a"), &[SESSION])).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_that_the_upstream_has_forgotten_is_gone() {
    let world = in_session().await;
    world.upstream_answers(|_| {
        let mut response = typed("text/plain", "no such session");
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    });
    let answer = world.send(world.billing(), with(call("read_a"), &[SESSION])).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    world.upstream_answers(|_| ok());
    assert_eq!(world.send(world.billing(), with(call("read_a"), &[SESSION])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_id_that_another_identity_holds_is_not_handed_out_again() {
    let world = in_session().await;
    let initialize = legacy(request("initialize", r#"{"protocolVersion":"2025-11-25"}"#));
    let answer = world.send(world.intern(), initialize).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn more_sessions_than_may_be_are_refused_before_the_upstream_opens_one() {
    let world = World::with(|config| config.limits.sessions = 1).await;
    world.upstream_answers(|_| {
        let mut response = ok();
        response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
        response
    });
    let initialize = || legacy(request("initialize", r#"{"protocolVersion":"2025-11-25"}"#));
    assert_eq!(world.send(world.billing(), initialize()).await.status, StatusCode::OK);
    assert_eq!(world.send(world.intern(), initialize()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.forwarded(), 1);
    assert_eq!(world.send(world.billing(), with(call("read_a"), &[SESSION])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_response_passes_only_if_this_identity_was_asked() {
    let world = in_session().await;
    world.upstream_answers(|seen| match seen.method {
        Method::GET => {
            events("data: {\"jsonrpc\":\"2.0\",\"id\":\"q1\",\"method\":\"elicitation/create\",\"params\":{}}\n\n")
        }
        _ => {
            let mut response = typed("text/plain", "");
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
    });
    let response = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    assert_eq!(world.send(world.billing(), with(response("\"q1\""), &[SESSION])).await.status, StatusCode::BAD_REQUEST);
    let stream = world.send(world.billing(), bodiless(Method::GET, &[SESSION])).await;
    assert!(stream.text.contains("elicitation/create"));
    assert_eq!(world.send(world.intern(), legacy(response("\"q1\""))).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.send(world.billing(), with(response("\"q2\""), &[SESSION])).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.send(world.billing(), with(response("\"q1\""), &[SESSION])).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        world.send(world.billing(), with(response("\"q1\""), &[SESSION])).await.status,
        StatusCode::BAD_REQUEST,
        "once"
    );
}

#[tokio::test]
async fn a_task_belongs_to_the_identity_and_the_tool_that_made_it() {
    let world = World::new().await;
    world.upstream_answers(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t1"}}"#));
    let get = || legacy(request("tasks/get", r#"{"taskId":"t1"}"#));
    assert_eq!(world.send(world.billing(), get()).await.code(), Some(-32602), "nobody has made it yet");
    assert_eq!(world.post(call("post_entry")).await.status, StatusCode::OK);
    for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
        let body = request(method, r#"{"taskId":"t1"}"#);
        assert_eq!(world.send(world.billing(), legacy(body.clone())).await.code(), None, "{method}");
        assert_eq!(world.send(world.intern(), legacy(body)).await.code(), Some(-32602), "{method}");
    }
    world
        .upstream_answers(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"t1"},{"taskId":"t2"}]}}"#));
    assert!(world.post(request("tasks/list", "{}")).await.text.contains(r#""tasks":[{"taskId":"t1"}]"#));
    assert!(world.send(world.intern(), legacy(request("tasks/list", "{}"))).await.text.contains(r#""tasks":[]"#));
    world.set_policy(&POLICY.replace(r#""post_entry", "#, ""));
    assert_eq!(world.send(world.billing(), get()).await.code(), Some(-32602), "the tool is no longer granted");
}
