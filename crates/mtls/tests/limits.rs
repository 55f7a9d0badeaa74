use std::time::Duration;

use countermark_mtls::{AcceptorConfig, HandshakeError, ServeConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use countermark_testkit::TestSource;

use crate::support::{Estate, PATIENCE, next_event};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_silent_peer_is_given_up_during_the_handshake() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig { handshake_timeout: SHORT, ..AcceptorConfig::default() });
    let (_silent, io) = tokio::io::duplex(1024);
    let accepted = acceptor.accept(io, ([127, 0, 0, 1], 1).into()).await;
    assert!(matches!(accepted, Err(HandshakeError::Timeout { .. })), "{accepted:?}");
}

/// A connection of `billing-bot`, to be written to by hand.
async fn raw(estate: &Estate, limits: ServeConfig) -> countermark_mtls::ServerStream<TcpStream> {
    let server = estate.serve_with(AcceptorConfig::default(), limits).await;
    let client = estate.client(&TestSource::new(estate.ca.agent("billing-bot")), false);
    let tcp = TcpStream::connect(server.address).await.unwrap();
    client.connect(tcp, "localhost").await.unwrap()
}

#[tokio::test]
async fn a_header_that_trickles_is_given_up() {
    let estate = Estate::new();
    let limits = ServeConfig { header_timeout: SHORT, ..ServeConfig::default() };
    let mut raw = raw(&estate, limits).await;
    raw.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    raw.flush().await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, raw.read_to_end(&mut rest)).await.expect("still open");
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused() {
    let estate = Estate::new();
    let mut raw = raw(&estate, ServeConfig::default()).await;
    let header = format!("GET /who HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(33 * 1024));
    raw.write_all(header.as_bytes()).await.unwrap();
    raw.flush().await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, raw.read_exact(&mut answer)).await.expect("no answer").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let limits = ServeConfig { idle_timeout: SHORT, ..ServeConfig::default() };
        let server = estate.serve_with(AcceptorConfig::default(), limits).await;
        let mut kept = estate.kept(&server, estate.ca.agent("billing-bot"), http2).await;
        assert_eq!(kept.text("/who").await, "billing-bot");
        kept.closes_soon().await;
    }
}

#[tokio::test]
async fn an_open_stream_is_not_idle() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let limits = ServeConfig { idle_timeout: SHORT, header_timeout: SHORT, ..ServeConfig::default() };
        let server = estate.serve_with(AcceptorConfig::default(), limits).await;
        let mut kept = estate.kept(&server, estate.ca.agent("billing-bot"), http2).await;
        let mut stream = kept.get("/stream").await.unwrap().into_body();
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "begun");
        tokio::time::sleep(SHORT * 4).await;
        estate.event("more");
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "more");
    }
}

#[tokio::test]
async fn shutdown_closes_idle_connections_at_once() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let mut kept = estate.kept(&server, estate.ca.agent("billing-bot"), true).await;
    assert_eq!(kept.text("/who").await, "billing-bot");
    server.shutdown.cancel();
    kept.closes_soon().await;
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn shutdown_waits_for_open_answers_no_longer_than_told() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let limits = ServeConfig { drain_timeout: SHORT, ..ServeConfig::default() };
        let server = estate.serve_with(AcceptorConfig::default(), limits).await;
        let mut kept = estate.kept(&server, estate.ca.agent("billing-bot"), http2).await;
        let mut stream = kept.get("/stream").await.unwrap().into_body();
        next_event(&mut stream).await.unwrap().unwrap();
        server.shutdown.cancel();
        estate.event("draining");
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "draining");
        tokio::time::timeout(PATIENCE, server.task).await.expect("never drained").unwrap();
        assert!(next_event(&mut stream).await.is_none_or(|event| event.is_err()));
    }
}

#[tokio::test]
async fn no_more_connections_than_there_is_room_for() {
    let estate = Estate::new();
    let limits = ServeConfig { max_connections: 1, ..ServeConfig::default() };
    let server = estate.serve_with(AcceptorConfig::default(), limits).await;
    let mut first = estate.kept(&server, estate.ca.agent("first"), false).await;
    assert_eq!(first.text("/who").await, "first");
    let mut second = Box::pin(estate.kept(&server, estate.ca.agent("second"), false));
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err(), "there was no room");
    drop(first);
    let mut second = tokio::time::timeout(PATIENCE, second).await.unwrap();
    assert_eq!(second.text("/who").await, "second");
}
