use super::*;

fn read(text: &str) -> Result<Message<'_>, ParseRefusal> {
    parse(text.as_bytes(), &Limits::default())
}

fn request(text: &str) -> Request<'_> {
    match read(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn reads_a_call_with_escapes_decoded() {
    let call = request(
        r#"{"jsonrpc":"2.0","id":"a\u0031","method":"tools\/call","params":{"name":"d\u0061nger","arguments":{"name":1,"Name":2},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":7}}}"#,
    );
    assert_eq!(call.id, RequestId::String("a1".into()));
    assert_eq!(call.method, "tools/call");
    assert_eq!(call.params.name.as_deref(), Some("danger"));
    assert_eq!(call.params.protocol_version.as_deref(), Some("2026-07-28"));
    assert_eq!(call.params.progress_token, Some("7"));
    assert_eq!(call.params.arguments, Some(r#"{"name":1,"Name":2}"#));
}

#[test]
fn takes_members_from_their_own_object_only() {
    let call = request(
        r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"arguments":{"uri":"a","_meta":{"progressToken":1}},"x":[{"name":"n"}]}}"#,
    );
    assert_eq!(call.params.name, None);
    assert_eq!(call.params.uri, None);
    assert_eq!(call.params.progress_token, None);
}

#[test]
fn reads_references_and_subscriptions() {
    let complete = |reference: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref":{reference},"argument":{{"name":"x","value":""}}}}}}"#
        )
    };
    let text = complete(r#"{"type":"ref/prompt","name":"p","title":"t"}"#);
    assert_eq!(request(&text).params.reference, Some(Reference::Prompt("p".into())));
    let text = complete(r#"{"uri":"f:///a","type":"ref/resource"}"#);
    assert_eq!(request(&text).params.reference, Some(Reference::Resource("f:///a".into())));
    for lie in [
        r#"{"type":"ref/prompt","name":"p","uri":"u"}"#,
        r#"{"type":"ref/prompt"}"#,
        r#"{"name":"p"}"#,
        r#"{"type":"ref/tool","name":"p"}"#,
        r#""ref/prompt""#,
    ] {
        assert!(matches!(read(&complete(lie)), Err(ParseRefusal::Type { .. })), "{lie}");
    }
    let listen = request(
        r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a","b"],"taskIds":["t"]}}}"#,
    );
    assert_eq!(listen.params.subscriptions.resources, ["a", "b"]);
    assert_eq!(listen.params.subscriptions.tasks, ["t"]);
}

#[test]
fn tells_the_three_kinds_apart() {
    assert!(matches!(read(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), Ok(Message::Notification(_))));
    assert!(matches!(read(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#), Ok(Message::Response(_))));
    assert!(matches!(read(r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}}"#), Ok(Message::Response(_))));
    for (text, refusal) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, ParseRefusal::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#, ParseRefusal::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, ParseRefusal::Mixed),
        (r#"{"jsonrpc":"2.0","id":1}"#, ParseRefusal::Nothing),
        (r#"{"jsonrpc":"2.0","result":{}}"#, ParseRefusal::Nothing),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#, ParseRefusal::RequestWithoutId),
        (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#, ParseRefusal::NotificationWithId),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, ParseRefusal::Batch),
        ("[]", ParseRefusal::Batch),
        ("1", ParseRefusal::NotAnObject),
        (r#"{"id":1,"method":"ping"}"#, ParseRefusal::Version),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, ParseRefusal::Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, ParseRefusal::Version),
    ] {
        assert_eq!(read(text), Err(refusal), "{text}");
    }
}

#[test]
fn refuses_wrong_types() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#,
    ] {
        assert!(matches!(read(text), Err(ParseRefusal::Type { .. })), "{text}: {:?}", read(text));
    }
}

#[test]
fn refuses_an_id_too_long_to_remember() {
    let text = |length| format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(length));
    assert!(read(&text(510)).is_ok());
    assert!(matches!(read(&text(511)), Err(ParseRefusal::Type { key: "id", .. })));
}

#[test]
fn refuses_keys_that_another_parser_would_fold() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","param\u017f":{"name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","paramſ":{"name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_Meta":{}}}"#,
        r#"{"jsonrpc":"2.0","ID":1,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"type":"ref/prompt","name":"a","URI":"b"}}}"#,
    ] {
        assert!(matches!(read(text), Err(ParseRefusal::Lookalike { .. })), "{text}: {:?}", read(text));
    }
    assert!(matches!(
        read(
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"name\\u0000\":\"b\"}}"
        ),
        Err(ParseRefusal::NulInKey { .. })
    ));
}

#[test]
fn refuses_a_body_beyond_the_limit() {
    let limits = Limits { body: 10, ..Limits::default() };
    assert_eq!(parse(b"{\"a\":\"bcdef\"}", &limits), Err(ParseRefusal::TooLarge { limit: 10 }));
}

#[test]
fn an_id_prints_as_json() {
    assert_eq!(RequestId::Number(-3).to_string(), "-3");
    assert_eq!(RequestId::String("a\"b".into()).to_string(), r#""a\"b""#);
}

#[test]
fn a_subscription_names_a_bounded_number_of_things() {
    let listen = |resources: usize, tasks: usize| {
        let many = |count| vec!["\"a:b\""; count].join(",");
        let (resources, tasks) = (many(resources), many(tasks));
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":[{resources}],"taskIds":[{tasks}]}}}}}}"#
        );
        parse(text.as_bytes(), &Limits::default()).map(drop)
    };
    assert_eq!(listen(1000, 24), Ok(()));
    assert!(matches!(listen(1000, 25), Err(ParseRefusal::Type { key: "params.notifications", .. })));
}
