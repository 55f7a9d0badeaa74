//! JSON answers: lists filtered, everything else as it came, nothing that was not asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;

use super::harness::*;
use crate::authorize::answer::full;

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_balance","description":"d"},{"name":"post_entry"},{"name":"drop_all"},{"name":"Read_x"}],"cacheScope":"public","nextCursor":"n"}}"#;

#[tokio::test]
async fn a_list_shows_what_the_caller_may_use() {
    let world = World::new().await;
    world.upstream_answers(|_| json(TOOLS));
    let answer = world.post(request("tools/list", "{}")).await;
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_balance","description":"d"},{"name":"post_entry"}],"cacheScope":"private","nextCursor":"n"}}"#;
    assert_eq!(answer.text, expected);
    assert!(answer.headers.get("content-length").is_none_or(|length| *length == *expected.len().to_string()));
    let answer = world.send(world.intern(), legacy(request("tools/list", "{}"))).await;
    assert!(!answer.text.contains("post_entry"));
}

#[tokio::test]
async fn all_lists_are_filtered() {
    let world = World::new().await;
    for (method, list, key, shown, hidden) in [
        ("prompts/list", "prompts", "name", "summary", "other"),
        ("resources/list", "resources", "uri", "file:///books/1", "file:///etc/x"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate", "file:///books/{year}", "file:///{path}"),
    ] {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"{list}":[{{"{key}":"{hidden}"}},{{"{key}":"{shown}"}}]}}}}"#
        );
        world.upstream_answers(move |_| json(&text));
        let answer = world.post(request(method, "{}")).await;
        assert_eq!(answer.json()["result"][list], serde_json::json!([{ key: shown }]), "{method}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_whatever_its_media_type_is_spelled_like() {
    let world = World::new().await;
    world.upstream_answers(|_| typed("Application/JSON; charset=utf-8", TOOLS));
    assert!(!world.post(request("tools/list", "{}")).await.text.contains("drop_all"));
    for other in ["text/plain", "application/octet-stream", "application/x-ndjson"] {
        world.upstream_answers(move |_| typed(other, TOOLS));
        let answer = world.post(request("tools/list", "{}")).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{other}");
        assert!(!answer.text.contains("drop_all"));
    }
    world.upstream_answers(|_| {
        let mut response = json(TOOLS);
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    });
    assert_eq!(world.post(request("tools/list", "{}")).await.status, StatusCode::BAD_GATEWAY);
    world.upstream_answers(|_| {
        let mut response = typed("text/plain", TOOLS);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    assert_eq!(world.post(request("tools/list", "{}")).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn answers_that_cannot_be_judged_do_not_pass() {
    let world = World::new().await;
    for answer in [
        "garbage",
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_all"}]}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_a"}],"tools":[{"name":"drop_all"}]}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"drop_all"}]}}"#,
        r#"{"jsonrpc":"2.0","id":"1","result":{"tools":[{"name":"drop_all"}]}}"#,
    ] {
        world.upstream_answers(move |_| json(answer));
        for body in [request("tools/list", "{}"), call("read_a")] {
            let answer = world.post(body).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_GATEWAY, Some(-32603)), "{answer:?}");
            assert!(!answer.text.contains("drop_all"));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_with_the_decision() {
    let world = World::new().await;
    world.upstream_answers(|_| {
        let mut response = ok();
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let answer = world.post(call("read_a")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_GATEWAY, Some(-32603)));
    assert_eq!(answer.json()["id"], 1);
}

#[tokio::test]
async fn a_large_answer_that_is_no_list_streams_through_uncopied() {
    let world = World::new().await;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":"{}"}}}}"#, "x".repeat(1 << 20));
    let bytes = Bytes::from(text);
    let sent = bytes.clone();
    world.upstream_answers(move |_| {
        let mut response = json("");
        *response.body_mut() = full(sent.clone());
        response
    });
    let response = world.open(world.billing(), legacy(call("read_a"))).await;
    let mut body = response.into_body();
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((data.as_ptr(), data.len()), (bytes.as_ptr(), bytes.len()), "the very same memory");
}

#[tokio::test]
async fn a_list_beyond_the_limit_does_not_pass() {
    let world = World::with(|config| config.limits.event = 1000).await;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{{"name":"{}"}}]}}}}"#, "x".repeat(2000));
    let text = Arc::new(text);
    world.upstream_answers(move |_| json(&text));
    assert_eq!(world.post(request("tools/list", "{}")).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn errors_pass_as_they_are() {
    let world = World::new().await;
    for answer in [
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read_x"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#,
    ] {
        world.upstream_answers(move |_| json(answer));
        assert_eq!(world.post(call("read_x")).await.text, answer);
        assert_eq!(world.post(request("tools/list", "{}")).await.text, answer);
    }
}
