//! Every way round the policy that is known (each has been an advisory, or was observed): refused, and nothing is forwarded.

use http::StatusCode;

use super::harness::*;

async fn refused(bodies: &[&str], status: StatusCode, code: i64) {
    let world = World::new().await;
    for body in bodies {
        let answer = world.post(body.to_string()).await;
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{body}: {answer:?}");
        assert_eq!(world.last_line()["outcome"], "refused", "{body}");
    }
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn bodies_that_two_parsers_could_read_differently() {
    refused(
        &[
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"x"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a"},"params":{"name":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","name":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","n\u0061me":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","Name":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a"},"paramſ":{"name":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","name\u0000":"drop_all"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","arguments":{"to":"a","to":"b"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","arguments":{"x":[{"to":"a","t\u006f":"b"}]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a"},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"read_a"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_a"}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read_a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[{"name":"read_a"}]}"#,
        ],
        StatusCode::BAD_REQUEST,
        -32600,
    )
    .await;
}

#[tokio::test]
async fn batches() {
    refused(
        &[
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop_all"}}]"#,
            r#"[]"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"drop_all"}}]"#,
        ],
        StatusCode::BAD_REQUEST,
        -32600,
    )
    .await;
}

#[tokio::test]
async fn what_is_not_json() {
    refused(
        &[
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\u{0}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\\ud800\"}}",
            "",
        ],
        StatusCode::BAD_REQUEST,
        -32700,
    )
    .await;
    let world = World::new().await;
    let answer = world.post(&b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xffng\"}"[..]).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, Some(-32700)));
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn bombs_of_depth_and_size() {
    let world = World::new().await;
    let deep =
        request("tools/call", &format!(r#"{{"name":"read_a","arguments":{}{}}}"#, "[".repeat(63), "]".repeat(63)));
    assert_eq!(world.post(deep).await.status, StatusCode::BAD_REQUEST);
    let large = request("tools/call", &format!(r#"{{"name":"read_a","arguments":"{}"}}"#, "x".repeat(4 << 20)));
    assert_eq!(world.post(large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut declared = legacy(call("read_a"));
    declared.headers_mut().insert("content-length", "99999999999999999999".parse().unwrap());
    let _ = world.send(world.billing(), declared).await;
    let mut declared = legacy(call("read_a"));
    declared.headers_mut().insert("content-length", "9999999999".parse().unwrap());
    assert_eq!(world.send(world.billing(), declared).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(world.forwarded() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends() {
    let world = World::new().await;
    let (parts, _) = legacy("").into_parts();
    let endless = futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>();
    let mut request = http::Request::from_parts(parts, http_body_util::StreamBody::new(endless));
    request.extensions_mut().insert(world.billing());
    let mut service = tower_layer::Layer::layer(&world.layer, world.upstream.clone());
    let answer = tower_service::Service::call(&mut service, request).await.unwrap();
    assert_eq!(read(answer).await.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_body_in_pieces_is_judged_whole() {
    let world = World::with(|config| config.limits.body = 1000).await;
    for (body, status) in [(call("drop_all"), StatusCode::OK), (call(&"x".repeat(2000)), StatusCode::PAYLOAD_TOO_LARGE)]
    {
        let (parts, _) = legacy("").into_parts();
        let pieces: Vec<_> = body.as_bytes().chunks(7).map(bytes::Bytes::copy_from_slice).collect();
        let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece)));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(pieces));
        let mut request = http::Request::from_parts(parts, body);
        request.extensions_mut().insert(world.billing());
        let mut service = tower_layer::Layer::layer(&world.layer, world.upstream.clone());
        let answer = read(tower_service::Service::call(&mut service, request).await.unwrap()).await;
        assert_eq!(answer.status, status);
        assert!(answer.code().is_some(), "{answer:?}");
    }
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn content_types_that_a_gate_might_not_recognise() {
    let world = World::new().await;
    for content_type in ["Application/JSON", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\""] {
        let answer = world.send(world.billing(), with(call("drop_all"), &[("content-type", content_type)])).await;
        assert_eq!(answer.code(), Some(-32602), "{content_type} is judged: {answer:?}");
    }
    for headers in [
        &[("content-type", "")][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/jsonx")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-encoding", "gzip")],
        &[("content-encoding", "identity, gzip")],
    ] {
        let answer = world.send(world.billing(), with(call("read_a"), headers)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
    }
    let mut twice = legacy(call("read_a"));
    twice.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(world.send(world.billing(), twice).await.status, StatusCode::BAD_REQUEST);
    let answer = world.send(world.billing(), with(call("read_a"), &[("accept", "image/png")])).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn escaped_names_are_judged_as_what_they_say() {
    let world = World::new().await;
    let answer = world.post(call(r"dr\u006fp_all")).await;
    assert_eq!(answer.code(), Some(-32602));
    assert!(answer.text.contains("`drop_all`"), "{answer:?}");
    assert_eq!(world.forwarded(), 0);
    let body = call(r"re\u0061d_balance");
    assert_eq!(world.post(body.clone()).await.status, StatusCode::OK);
    world.sent_on(|seen| assert_eq!(seen.body, body, "what was judged is what is forwarded, byte for byte"));
}

#[tokio::test]
async fn resources_that_a_server_would_resolve_elsewhere() {
    let world = World::new().await;
    for uri in [
        "file:///books/../etc/passwd",
        "file:///books/%2e%2e/x",
        "file:///books/a%2fb",
        "file:///books/a%5Cb",
        "file:///books/a\\\\b",
        "FILE:///books/a",
        "file:///other/a",
    ] {
        for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
            let answer = world.post(request(method, &format!(r#"{{"uri":"{uri}"}}"#))).await;
            assert_eq!(answer.code(), Some(-32602), "{uri}: {answer:?}");
        }
    }
    assert_eq!(world.forwarded(), 0);
    assert_eq!(world.post(request("resources/read", r#"{"uri":"file:///books/2026"}"#)).await.code(), None);
}

#[tokio::test]
async fn completion_and_subscriptions_follow_what_they_name() {
    let world = World::new().await;
    let complete = |reference: &str| {
        request("completion/complete", &format!(r#"{{"ref":{reference},"argument":{{"name":"a","value":""}}}}"#))
    };
    for (reference, code) in [
        (r#"{"type":"ref/prompt","name":"summary"}"#, None),
        (r#"{"type":"ref/prompt","name":"other"}"#, Some(-32602)),
        (r#"{"type":"ref/resource","uri":"file:///books/{year}"}"#, None),
        (r#"{"type":"ref/resource","uri":"file:///{path}"}"#, Some(-32602)),
    ] {
        assert_eq!(world.post(complete(reference)).await.code(), code, "{reference}");
    }
    for (uris, code) in
        [(r#"["file:///books/1"]"#, None), (r#"["file:///books/1","file:///etc/x"]"#, Some(-32602)), ("[]", None)]
    {
        let body =
            modern_body("subscriptions/listen", &format!(r#""notifications":{{"resourceSubscriptions":{uris}}}"#));
        let request = with(body, &[MODERN, ("mcp-method", "subscriptions/listen")]);
        assert_eq!(world.send(world.billing(), request).await.code(), code, "{uris}");
    }
}

#[tokio::test]
async fn methods_that_no_table_knows() {
    let world = World::new().await;
    for method in ["vendor/other", "Tools/Call", "tools/call ", "rpc.discover", "skills/get"] {
        let answer = world.post(request(method, "{}")).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, Some(-32601)), "{method}");
    }
    assert_eq!(world.forwarded(), 0);
    assert_eq!(world.post(request("vendor/allowed", "{}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn hosts_and_origins() {
    let world = World::with(|config| config.origins = vec!["https://console.internal".to_owned()]).await;
    for (headers, status) in [
        (&[("host", "evil.example")][..], StatusCode::FORBIDDEN),
        (&[("host", "ledger.internal.evil.example")], StatusCode::FORBIDDEN),
        (&[("host", "ledger.internal@evil.example")], StatusCode::BAD_REQUEST),
        (&[("host", "")], StatusCode::BAD_REQUEST),
        (&[("host", "LEDGER.internal:1")], StatusCode::OK),
        (&[("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[("origin", "null")], StatusCode::FORBIDDEN),
        (&[("origin", "https://console.internal")], StatusCode::OK),
    ] {
        let answer = world.send(world.billing(), with(call("read_a"), headers)).await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    let mut two = legacy(call("read_a"));
    two.headers_mut().append("host", "evil.example".parse().unwrap());
    assert_eq!(world.send(world.billing(), two).await.status, StatusCode::BAD_REQUEST);
    let mut differs = legacy(call("read_a"));
    *differs.uri_mut() = "https://ledger.internal/mcp".parse().unwrap();
    differs.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(world.send(world.billing(), differs).await.status, StatusCode::BAD_REQUEST);
    world.sent_on(|seen| assert!(!seen.headers.contains_key("origin"), "the upstream sees no Origin"));
}

#[tokio::test]
async fn identity_and_routing_headers_from_outside() {
    let world = World::new().await;
    let claimed = [
        ("Client-Cert", "x"),
        ("Client-Cert-Chain", "x"),
        ("Client_Cert", "x"),
        ("X-Forwarded-Client-Cert", "x"),
        ("X_Forwarded_For", "x"),
        ("Forwarded", "x"),
        ("X-SSL-Client-S-DN", "x"),
        ("x_ssl_cert", "x"),
        ("Countermark-Agent", "root"),
        ("countermark_agent", "root"),
        ("Authorization", "Bearer x"),
        ("Proxy-Authorization", "x"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "x"),
        ("Te", "trailers"),
        ("Mcp_Name", "drop_all"),
        ("Transfer-Encoding", "chunked"),
        ("Accept-Encoding", "gzip"),
        ("X-Kept", "yes"),
    ];
    assert_eq!(world.send(world.billing(), with(call("read_a"), &claimed)).await.status, StatusCode::OK);
    world.sent_on(|seen| {
        let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "content-type", "host", "x-kept"]);
        assert_eq!(seen.headers["accept-encoding"], "identity");
        assert_eq!(seen.caller.agent().name(), "billing-bot");
        assert_eq!(seen.caller.permit().unwrap().rule().to_string(), "grant 1 (line 5)");
    });
}

#[tokio::test]
async fn other_paths_and_methods() {
    let world = World::with(|config| config.path = Some("/mcp".to_owned())).await;
    for path in ["/", "/mcp/", "/mcp/x", "/MCP", "/mcp?x=1"] {
        let mut request = legacy(call("read_a"));
        *request.uri_mut() = path.parse().unwrap();
        let answer = world.send(world.billing(), request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("https://ledger.internal:8443/mcp"), "{answer:?}");
    }
    for method in ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"] {
        let mut request = legacy(call("read_a"));
        *request.method_mut() = method.parse().unwrap();
        let answer = world.send(world.billing(), request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.headers.contains_key("allow"));
    }
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test]
async fn a_request_without_a_verified_peer() {
    let world = World::new().await;
    let mut service = tower_layer::Layer::layer(&world.layer, world.upstream.clone());
    let answer = tower_service::Service::call(&mut service, legacy(call("read_a"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.forwarded(), 0);
}
