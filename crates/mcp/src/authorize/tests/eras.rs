//! Headers against the body, in both eras.

use http::{Method, StatusCode};

use super::harness::*;

#[tokio::test]
async fn a_modern_call_passes_with_headers_that_mirror_it() {
    let world = World::new().await;
    assert_eq!(world.send(world.billing(), modern_call("read_a")).await.status, StatusCode::OK);
    let wrapped = with(
        modern_body("tools/call", r#""name":"read_\u00e9""#),
        &[MODERN, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?cmVhZF/DqQ==?="), ("mcp-param-region", "eu")],
    );
    assert_eq!(world.send(world.billing(), wrapped).await.status, StatusCode::OK);
    world.sent_on(|seen| assert_eq!(seen.headers["mcp-param-region"], "eu"));
}

#[tokio::test]
async fn headers_that_lie_are_refused_in_both_eras() {
    let world = World::new().await;
    let modern = modern_body("tools/call", r#""name":"read_a""#);
    let old = call("read_a");
    let method = ("mcp-method", "tools/call");
    let name = ("mcp-name", "read_a");
    for (body, headers) in [
        (&modern, &[MODERN, method, ("mcp-name", "drop_all")][..]),
        (&modern, &[MODERN, method]),
        (&modern, &[MODERN, name]),
        (&modern, &[MODERN, method, name, name]),
        (&modern, &[MODERN, method, method, name]),
        (&modern, &[MODERN, ("mcp-method", "Tools/call"), name]),
        (&modern, &[MODERN, ("mcp-method", "tools/list"), name]),
        (&modern, &[MODERN, method, ("mcp-name", "Read_a")]),
        (&modern, &[MODERN, method, ("mcp-name", "=?base64?!!?=")]),
        (&modern, &[MODERN, method, ("mcp-name", "=?base64?ZHJvcF9hbGw=?=")]),
        (&modern, &[method, name]),
        (&modern, &[("mcp-protocol-version", "2025-11-25"), method, name]),
        (&modern, &[MODERN, MODERN, method, name]),
        (&modern, &[MODERN, method, name, ("mcp-param-a", "=?base64?!!?=")]),
        (&modern, &[MODERN, method, name, ("mcp-param-a", "x"), ("mcp-param-a", "y")]),
        // The older era as a way round: the body decides there as well.
        (&old, &[("mcp-name", "whoami")]),
        (&old, &[("mcp-protocol-version", "2025-11-25"), ("mcp-name", "whoami")]),
        (&old, &[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "ping")]),
        (&old, &[("mcp-protocol-version", "2025-11-25"), ("mcp-param-a", "x")]),
    ] {
        let answer = world.send(world.billing(), with(body.clone(), headers)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, Some(-32020)), "{headers:?}: {answer:?}");
    }
    let answer = world.send(world.billing(), with(old.clone(), &[MODERN, method, name])).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, Some(-32602)), "no version in _meta");
    let unknown = modern_body("ping", "").replace("2026-07-28", "2099-01-01");
    let answer = world.send(world.billing(), with(unknown, &[MODERN, ("mcp-method", "ping")])).await;
    assert_eq!(answer.code(), Some(-32020), "that they differ is said first");
    assert_eq!(world.forwarded(), 0);
    let truthful = with(old, &[("mcp-protocol-version", "2025-11-25"), method, name]);
    assert_eq!(world.send(world.billing(), truthful).await.status, StatusCode::OK);
}

#[tokio::test]
async fn versions_that_are_not_served_are_named() {
    let world = World::new().await;
    let odd = modern_body("ping", "").replace("2026-07-28", "2099-01-01");
    for (body, version) in [
        (request("ping", "{}"), "2024-11-05"),
        (request("ping", "{}"), "2025-11-25, 2026-07-28"),
        (request("ping", "{}"), "draft"),
        (odd, "2099-01-01"),
    ] {
        let answer = world.send(world.billing(), with(body, &[("mcp-protocol-version", version)])).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, Some(-32022)), "{version}");
        let data = answer.json()["error"]["data"].clone();
        assert_eq!(data["requested"], version);
        let supported = match version {
            "2099-01-01" => serde_json::json!(["2026-07-28"]),
            _ => serde_json::json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]),
        };
        assert_eq!(data["supported"], supported);
    }
    let answer = world.post(request("initialize", r#"{"protocolVersion":"2024-11-05"}"#)).await;
    assert_eq!(answer.code(), Some(-32022));
    assert!(answer.text.contains("HTTP+SSE"), "{answer:?}");
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn initialize_belongs_to_the_older_era() {
    let world = World::new().await;
    let body = request("initialize", r#"{"protocolVersion":"2025-11-25"}"#);
    let unmarked = modern_body("initialize", "");
    assert_eq!(world.send(world.billing(), legacy(unmarked)).await.code(), Some(-32020));
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let request = with(modern_body(method, ""), &[MODERN, ("mcp-method", method)]);
        let answer = world.send(world.billing(), request).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, Some(-32601)), "{method}");
    }
    assert_eq!(world.forwarded(), 0);
    assert_eq!(world.post(body).await.status, StatusCode::OK);
    let discover = with(modern_body("server/discover", ""), &[MODERN, ("mcp-method", "server/discover")]);
    assert_eq!(world.send(world.billing(), discover).await.status, StatusCode::OK);
}

#[tokio::test]
async fn get_and_delete_are_not_modern() {
    let world = World::new().await;
    for method in [Method::GET, Method::DELETE] {
        let answer = world.send(world.billing(), bodiless(method, &[MODERN])).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let answer = world.send(world.billing(), bodiless(Method::DELETE, &[])).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "which session?");
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn a_stray_session_id_is_neither_believed_nor_echoed_in_the_modern_era() {
    let world = World::new().await;
    world.upstream_answers(|_| {
        let mut response = ok();
        response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
        response
    });
    let mut request = modern_call("read_a");
    request.headers_mut().insert("mcp-session-id", "somebody-elses".parse().unwrap());
    let answer = world.send(world.billing(), request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.contains_key("mcp-session-id"));
    world.sent_on(|seen| assert!(!seen.headers.contains_key("mcp-session-id")));
}

#[tokio::test]
async fn notifications_of_both_eras_pass() {
    let world = World::new().await;
    world.upstream_answers(|_| {
        let mut response = typed("text/plain", "");
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    });
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for headers in [
        &[][..],
        &[("mcp-protocol-version", "2025-06-18")],
        &[MODERN],
        &[MODERN, ("mcp-method", "notifications/initialized")],
    ] {
        assert_eq!(world.send(world.billing(), with(body, headers)).await.status, StatusCode::ACCEPTED, "{headers:?}");
    }
}
