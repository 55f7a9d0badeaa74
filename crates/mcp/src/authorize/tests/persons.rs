//! One agent that calls for several people: what it came by for one of them is of no use for another.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use super::harness::*;
use super::streams::{NOTE, open_stream, passes, within};
use super::tokens::Desk;
use crate::Tokens;

const SESSION: (&str, &str) = ("mcp-session-id", "s1");

/// `Authorization` of a call for this person.
fn for_person(desk: &Desk, person: &str) -> String {
    format!("Bearer {}", desk.token(&json!({"sub": person, "act": {"sub": "agent-a"}})))
}

/// A request of the older era, for this person or without a token.
async fn send(desk: &Desk, body: &str, headers: &[(&str, &str)], person: Option<&str>) -> Answer {
    let authorization = person.map(|person| for_person(desk, person));
    let mut headers = headers.to_vec();
    headers.extend(authorization.iter().map(|value| ("authorization", value.as_str())));
    desk.world.send(desk.world.billing(), with(body.to_owned(), &headers)).await
}

async fn desk(tokens: fn(crate::TokenRules) -> Tokens) -> Desk {
    let desk = Desk::new(tokens).await;
    desk.world.upstream_answers(|seen| {
        let mut response = ok();
        if seen.body.windows(10).any(|window| window == b"initialize") {
            response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
        }
        response
    });
    desk
}

fn initialize() -> String {
    request("initialize", r#"{"protocolVersion":"2025-11-25"}"#)
}

#[tokio::test]
async fn a_session_is_the_persons_for_whom_it_was_opened() {
    let desk = desk(Tokens::Required).await;
    assert_eq!(send(&desk, &initialize(), &[], Some("alice")).await.headers["mcp-session-id"], "s1");
    let before = desk.world.forwarded();
    let bob = for_person(&desk, "bob");
    let headers = [SESSION, ("authorization", bob.as_str())];
    for request in
        [with(call("read_balance"), &headers), bodiless(Method::GET, &headers), bodiless(Method::DELETE, &headers)]
    {
        let answer = desk.world.send(desk.world.billing(), request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(desk.world.last_line()["outcome"], "refused");
    }
    assert_eq!(send(&desk, &initialize(), &[], Some("bob")).await.status, StatusCode::BAD_GATEWAY, "the same id again");
    assert_eq!(desk.world.forwarded(), before + 1);
    // Another token of the same person is as good as the first.
    assert_eq!(send(&desk, &call("read_balance"), &[SESSION], Some("alice")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_without_a_token_is_the_first_persons_who_uses_it() {
    let desk = desk(Tokens::Optional).await;
    assert_eq!(send(&desk, &initialize(), &[], None).await.status, StatusCode::OK);
    let used = async |person| send(&desk, &call("read_balance"), &[SESSION], person).await.status;
    assert_eq!(used(None).await, StatusCode::OK);
    assert_eq!(used(Some("alice")).await, StatusCode::OK);
    assert_eq!(used(Some("bob")).await, StatusCode::NOT_FOUND);
    assert_eq!(used(None).await, StatusCode::NOT_FOUND, "what is hers is not everybody's any more");
    assert_eq!(used(Some("alice")).await, StatusCode::OK);
}

/// What is denied takes nothing into its possession.
#[tokio::test]
async fn a_call_that_is_denied_does_not_take_a_session_over() {
    let desk = desk(Tokens::Optional).await;
    assert_eq!(send(&desk, &initialize(), &[], None).await.status, StatusCode::OK);
    let before = desk.world.forwarded();
    assert!(send(&desk, &call("drop_ledger"), &[SESSION], Some("alice")).await.code().is_some());
    assert_eq!(desk.world.forwarded(), before);
    assert_eq!(send(&desk, &call("read_balance"), &[SESSION], None).await.status, StatusCode::OK);
    assert_eq!(send(&desk, &call("read_balance"), &[SESSION], Some("bob")).await.status, StatusCode::OK);
}

/// A stream that was opened without a token hears nothing more from a session that has become a person's.
#[tokio::test]
async fn a_stream_of_nobody_ends_when_its_session_becomes_a_persons() {
    let desk = desk(Tokens::Optional).await;
    assert_eq!(send(&desk, &initialize(), &[], None).await.status, StatusCode::OK);
    let (mut body, feed) = open_stream(&desk.world, &[SESSION]).await;
    passes(&mut body, &feed).await;
    desk.world.upstream_answers(|_| ok());
    assert_eq!(send(&desk, &call("read_balance"), &[SESSION], Some("alice")).await.status, StatusCode::OK);
    feed.send(Ok(format!("data: {NOTE}\n\n").into())).unwrap();
    assert!(within(body.frame()).await.is_none(), "what comes now is for her");
    assert_eq!(desk.world.last_line()["outcome"], "ended");
}

#[tokio::test]
async fn a_task_is_the_persons_for_whom_it_was_made() {
    let desk = desk(Tokens::Optional).await;
    let make = |id: &'static str| {
        desk.world.upstream_answers(move |_| {
            json(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"task","taskId":"{id}"}}}}"#))
        });
    };
    make("alices");
    assert_eq!(send(&desk, &call("read_balance"), &[], Some("alice")).await.status, StatusCode::OK);
    make("nobodys");
    assert_eq!(send(&desk, &call("read_balance"), &[], None).await.status, StatusCode::OK);
    desk.world.upstream_answers(|_| {
        json(r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"alices"},{"taskId":"nobodys"}]}}"#)
    });
    for (person, hers) in [(Some("alice"), true), (Some("bob"), false), (None, false)] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            let answer = send(&desk, &request(method, r#"{"taskId":"alices"}"#), &[], person).await;
            assert_eq!(answer.code().is_none(), hers, "{person:?} {method}");
            let answer = send(&desk, &request(method, r#"{"taskId":"nobodys"}"#), &[], person).await;
            assert_eq!(answer.code(), None, "{person:?} {method}: what was made without a token is the agent's");
        }
        let list = send(&desk, &request("tasks/list", "{}"), &[], person).await;
        assert_eq!((list.text.contains("alices"), list.text.contains("nobodys")), (hers, true), "{person:?}");
    }
}

#[tokio::test]
async fn a_question_is_answered_by_the_person_who_was_asked() {
    let desk = desk(Tokens::Required).await;
    let question = r#"data: {"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{}}"#;
    desk.world.upstream_answers(move |_| events(&format!("{question}\n\n")));
    assert!(send(&desk, &call("read_balance"), &[], Some("alice")).await.text.contains("elicitation/create"));
    desk.world.upstream_answers(|_| ok());
    let response = r#"{"jsonrpc":"2.0","id":"q1","result":{}}"#;
    assert_eq!(send(&desk, response, &[], Some("bob")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(&desk, response, &[], Some("alice")).await.status, StatusCode::OK);
    assert_eq!(send(&desk, response, &[], Some("alice")).await.status, StatusCode::BAD_REQUEST, "once");
}
