use super::message::Outcome;
use super::*;
use crate::{Era, ParseRefusal, RequestId};

fn outcome(text: &str) -> Outcome<'_> {
    match read(text.as_bytes(), 64).unwrap() {
        ServerMessage::Response(_, outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn filtered(text: &str, era: Era) -> String {
    rewrite(text, &outcome(text), era, |_, name| name.starts_with("read")).unwrap_or_else(|| text.to_owned())
}

#[test]
fn cuts_what_is_not_kept_and_leaves_the_rest_as_it_came() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_a","n":1.50},{"name":"drop"},{"x":{"name":"read"},"name":"r\u0065ad_b"},{"title":"read"},7],"nextCursor":"c"}}"#;
    assert_eq!(
        filtered(text, Era::Legacy),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_a","n":1.50},{"x":{"name":"read"},"name":"r\u0065ad_b"}],"nextCursor":"c"}}"#
    );
}

#[test]
fn filters_each_list_by_its_own_key() {
    for (list, key) in
        [("prompts", "name"), ("resources", "uri"), ("resourceTemplates", "uriTemplate"), ("tasks", "taskId")]
    {
        let text = format!(r#"{{"id":1,"result":{{"{list}":[{{"{key}":"read"}},{{"{key}":"drop"}}]}}}}"#);
        assert_eq!(filtered(&text, Era::Legacy), format!(r#"{{"id":1,"result":{{"{list}":[{{"{key}":"read"}}]}}}}"#));
    }
}

#[test]
fn a_name_is_never_taken_from_the_item_before() {
    let text = r#"{"id":1,"result":{"tools":[{"name":"read"},{}]}}"#;
    assert_eq!(filtered(text, Era::Legacy), r#"{"id":1,"result":{"tools":[{"name":"read"}]}}"#);
}

#[test]
fn a_list_that_is_no_list_is_emptied() {
    let text = r#"{"id":1,"result":{"tools":{"name":"read"}}}"#;
    assert_eq!(filtered(text, Era::Legacy), r#"{"id":1,"result":{"tools":[]}}"#);
}

#[test]
fn a_filtered_list_is_private() {
    let text = r#"{"id":1,"result":{"tools":[],"cacheScope":"public"}}"#;
    assert_eq!(filtered(text, Era::Legacy), r#"{"id":1,"result":{"tools":[],"cacheScope":"private"}}"#);
    let text = r#"{"id":1,"result":{"tools":[]}}"#;
    assert_eq!(filtered(text, Era::Modern), r#"{"id":1,"result":{"cacheScope":"private","tools":[]}}"#);
    assert_eq!(filtered(text, Era::Legacy), text);
    assert_eq!(filtered(r#"{"id":1,"result":{}}"#, Era::Modern), r#"{"id":1,"result":{"cacheScope":"private"}}"#);
}

#[test]
fn tells_messages_apart() {
    let read = |text: &'static str| read(text.as_bytes(), 64);
    assert!(matches!(
        read(r#"{"id":"q","method":"sampling/createMessage"}"#),
        Ok(ServerMessage::Request(RequestId::String(_)))
    ));
    assert!(matches!(read(r#"{"method":"notifications/message"}"#), Ok(ServerMessage::Notification(None))));
    assert!(matches!(read(r#"{"id":null,"error":{}}"#), Ok(ServerMessage::Notification(None))));
    assert!(matches!(read(r#"{"id":null,"result":{}}"#), Err(ParseRefusal::Nothing)));
    assert!(matches!(read(r#"[{"id":1,"result":{}}]"#), Err(ParseRefusal::Batch)));
    assert!(matches!(read(r#"{"id":1,"result":{},"method":"x"}"#), Err(ParseRefusal::Mixed)));
    assert!(matches!(read(r#"{"id":1,"result":{"tools":[],"tools":[]}}"#), Err(ParseRefusal::DuplicateKey { .. })));
}

#[test]
fn finds_the_task_that_was_made() {
    assert_eq!(outcome(r#"{"id":1,"result":{"resultType":"task","taskId":"t1"}}"#).task.as_deref(), Some("t1"));
    assert_eq!(outcome(r#"{"id":1,"result":{"task":{"taskId":"t2"}}}"#).task.as_deref(), Some("t2"));
    assert_eq!(outcome(r#"{"id":1,"result":{"structuredContent":{"taskId":"t2"}}}"#).task, None);
}

#[test]
fn a_text_cut_inside_a_character_passes() {
    let text =
        r#"{"id":1,"result":{"tools":[{"name":"read_\ud83d"},{"name":"read","description":"\ud83d\u0041 \ude00"}]}}"#;
    let kept = rewrite(text, &outcome(text), Era::Legacy, |_, name| name == "read").unwrap();
    assert_eq!(kept, r#"{"id":1,"result":{"tools":[{"name":"read","description":"\ud83d\u0041 \ude00"}]}}"#);
}
