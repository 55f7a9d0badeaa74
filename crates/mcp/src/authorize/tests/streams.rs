//! Event streams: filtered event by event, and ended when the right to them ends.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;

use super::harness::*;
use crate::BoxError;
use crate::authorize::answer::AnswerBody;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_a"},{"name":"drop_all"}]}}"#;
pub(super) const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;

#[tokio::test]
async fn a_list_in_a_stream_is_filtered_and_the_rest_passes() {
    let world = World::new().await;
    world.upstream_answers(|_| {
        events(&format!(": hello\n\nid: 0\ndata: \n\nevent: message\ndata: {NOTE}\n\nid: 9\r\ndata: {LIST}\r\n\r\n"))
    });
    let answer = world.post(request("tools/list", "{}")).await;
    let filtered = LIST.replace(r#",{"name":"drop_all"}"#, "");
    assert_eq!(
        answer.text,
        format!(": hello\n\nid: 0\ndata: \n\nevent: message\ndata: {NOTE}\n\nid: 9\ndata: {filtered}\n\n")
    );
}

#[tokio::test]
async fn a_list_cannot_hide_behind_the_framing() {
    let world = World::new().await;
    let (one, two) = LIST.split_at(30);
    for stream in [
        format!("data: {one}\ndata: {two}\n\n"),
        format!("data:{LIST}\r\r\n"),
        format!("\u{feff}data: {LIST}\n\n"),
        format!("data: {LIST}\ndata\n\n"),
        format!("event: other\ndata: {LIST}\n\n"),
    ] {
        world.upstream_answers(move |_| events(&stream));
        let answer = world.post(request("tools/list", "{}")).await;
        assert!(!answer.text.contains("drop_all"), "{answer:?}");
    }
    world.upstream_answers(|_| events(&format!("data: {LIST}\n")));
    assert_eq!(world.post(request("tools/list", "{}")).await.text, "", "an event without end is none");
}

#[tokio::test]
async fn a_notification_names_nothing_that_the_caller_may_not_read() {
    let world = World::new().await;
    let updated =
        |uri| format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#);
    let (own, foreign) = (updated("file:///books/1"), updated("file:///salaries/1"));
    let task = r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"another's"}}"#;
    let stream = format!("data: {foreign}\n\ndata: {own}\n\ndata: {task}\n\n");
    world.upstream_answers(move |_| events(&stream));
    let answer = world.send(world.billing(), bodiless(Method::GET, &[])).await;
    assert_eq!(answer.text, format!("data: {own}\n\n"));
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_is_dropped() {
    let world = World::new().await;
    let other = LIST.replace("\"id\":1", "\"id\":2");
    let stream = format!("data: {other}\n\ndata: {NOTE}\n\n");
    world.upstream_answers(move |_| events(&stream));
    assert_eq!(world.post(call("read_a")).await.text, format!("data: {NOTE}\n\n"));
    assert_eq!(world.send(world.billing(), bodiless(Method::GET, &[])).await.text, format!("data: {NOTE}\n\n"));
}

#[tokio::test]
async fn a_resumed_stream_filters_the_lists_that_the_session_asked_for() {
    let world = World::new().await;
    world.upstream_answers(|seen| {
        if seen.method == Method::GET {
            return events(&format!(
                "data: {}\n\ndata: {}\n\n",
                LIST.replace("\"id\":1", "\"id\":7"),
                LIST.replace("\"id\":1", "\"id\":8")
            ));
        }
        let mut response = events("");
        response.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
        response
    });
    world.post(request("initialize", r#"{"protocolVersion":"2025-11-25"}"#)).await;
    let session = ("mcp-session-id", "s1");
    world.send(world.billing(), with(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#, &[session])).await;
    let stream = world.send(world.billing(), bodiless(Method::GET, &[session, ("last-event-id", "3")])).await;
    assert!(stream.text.contains("\"id\":7") && !stream.text.contains("drop_all"), "{stream:?}");
    assert!(!stream.text.contains("\"id\":8"), "nobody asked for it");
}

#[tokio::test]
async fn an_event_that_is_no_message_ends_the_answer_with_an_error() {
    let world = World::new().await;
    for data in ["garbage", "[]", r#"{"id":1,"result":{"tools":[{"name":"drop_all"}],"tools":[]}}"#] {
        world.upstream_answers(move |_| events(&format!("data: {data}\n\ndata: {NOTE}\n\n")));
        let answer = world.post(request("tools/list", "{}")).await;
        assert!(answer.text.starts_with("data: {") && answer.text.contains("-32603"), "{answer:?}");
        assert!(!answer.text.contains("drop_all") && !answer.text.contains("notifications"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_event_without_bound_ends_the_answer() {
    let world = World::with(|config| config.limits.event = 100).await;
    world.upstream_answers(|_| events(&format!("data: {}", "x".repeat(200))));
    assert!(world.post(call("read_a")).await.text.contains("too large"));
}

pub(super) type Feed = mpsc::UnboundedSender<Result<Bytes, BoxError>>;

/// A GET stream of `billing-bot` that stays open, and what feeds it.
pub(super) async fn open_stream(world: &World, headers: &[(&str, &str)]) -> (AnswerBody, Feed) {
    let feed = feed(world, "text/event-stream");
    let response = world.open(world.billing(), bodiless(Method::GET, headers)).await;
    assert_eq!(response.status(), StatusCode::OK);
    (response.into_body(), feed)
}

/// The server behind answers once with what the feed is given.
fn feed(world: &World, media: &'static str) -> Feed {
    let (feed, fed) = mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
    let fed = std::sync::Mutex::new(Some(fed));
    world.upstream_answers(move |_| {
        let fed = fed.lock().unwrap().take().expect("one stream");
        let frames =
            futures_util::stream::unfold(fed, |mut fed| async move { Some((fed.recv().await?.map(Frame::data), fed)) });
        let mut response = Response::new(crate::authorize::body::passed(StreamBody::new(Box::pin(frames))));
        response.headers_mut().insert("content-type", media.parse().unwrap());
        response
    });
    feed
}

pub(super) async fn passes(body: &mut AnswerBody, feed: &Feed) {
    feed.send(Ok(Bytes::from(format!("data: {NOTE}\n\n")))).unwrap();
    let frame = within(body.frame()).await.expect("the stream is open").unwrap();
    assert_eq!(frame.into_data().unwrap(), format!("data: {NOTE}\n\n"));
}

pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(1), future).await.expect("within a second")
}

#[tokio::test]
async fn an_open_stream_ends_when_its_grant_does() {
    let world = World::new().await;
    let (mut body, feed) = open_stream(&world, &[]).await;
    passes(&mut body, &feed).await;
    world.set_policy(&POLICY.replace("tools = [\"read_*\"]", "tools = [\"other\"]"));
    passes(&mut body, &feed).await;
    world.set_policy(&POLICY.replace("billing-bot", "somebody-else"));
    assert!(within(body.frame()).await.is_none());
    assert_eq!(world.last_line()["outcome"], "ended");
}

#[tokio::test]
async fn an_open_stream_ends_when_its_peer_does() {
    let world = World::new().await;
    let (mut body, feed) = open_stream(&world, &[]).await;
    passes(&mut body, &feed).await;
    world.billing().end("revoked");
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn an_event_that_arrives_after_the_end_of_the_right_is_not_seen() {
    let world = World::new().await;
    let (mut body, feed) = open_stream(&world, &[]).await;
    feed.send(Ok(Bytes::from(format!("data: {NOTE}\n\n")))).unwrap();
    world.ca.clock().advance(Duration::from_secs(400 * 24 * 3600));
    assert!(within(body.frame()).await.is_none(), "the certificate has expired");
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_be_held_breaks_off_when_the_right_to_its_tool_ends() {
    let world = World::new().await;
    let feed = feed(&world, "application/json");
    let piece = || feed.send(Ok(Bytes::from(vec![b'x'; 65 * 1024]))).unwrap();
    piece();
    let mut body = world.open(world.billing(), legacy(call("read_a"))).await.into_body();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap().len(), 65 * 1024);
    piece();
    assert!(within(body.frame()).await.unwrap().is_ok());
    // Another grant stays, so that the connection lives on.
    world.set_policy(&POLICY.replace("read_*", "other"));
    piece();
    assert!(within(body.frame()).await.unwrap().is_err(), "it breaks off");
    assert_eq!(world.last_line()["outcome"], "ended");
}
