//! Traces: they arrive where OpenTelemetry's variables say, with nothing secret in them, and nowhere else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Stdio,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use crate::{
    run::{Place, command, countermark},
    serve::{Served, terminate},
};

/// A collector that takes everything, and what it was sent.
fn collector() -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                head.push_str(&line.to_ascii_lowercase());
                line.clear();
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert!(head.starts_with("post /v1/traces "), "{head}");
            if sender.send(body).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

/// Starts a service that tells its traces; the first line of its log that has `said`.
fn traced(collector: &str, args: &[&str], said: &str) -> (Served, String) {
    let mut command = command();
    command.args(args).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut child = Served::from(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(said)).expect("it says that it serves");
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

/// Everything that arrives until all of these were seen, or long enough.
fn seen(bodies: &Receiver<Vec<u8>>, wanted: &[&str]) -> Vec<u8> {
    let (begun, mut all) = (Instant::now(), Vec::new());
    while !wanted.iter().all(|text| has(&all, text)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{wanted:?}: {}", String::from_utf8_lossy(&all));
        if let Ok(body) = bodies.recv_timeout(Duration::from_millis(100)) {
            all.extend(body);
        }
    }
    all
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn the_traces_of_an_authority_and_a_rotation_arrive_without_a_secret() {
    let place = Place::with_authority();
    let (collector, bodies) = collector();
    let serve = ["ca", "serve", "--dir", &place.text("ca"), "--dns", "localhost", "--listen", "127.0.0.1:0"];
    let (authority, line) = traced(&collector, &serve, "the authority serves");
    let url = line.split("url=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').to_owned();
    let invite = place.text("bot.invite");
    countermark(["ca", "invite", "agent", "billing-bot", "--ca", &place.text("ca"), "--out", &invite]).done();
    countermark(["join", "--invite", &invite, "--out", &place.text("bot")]).done();
    let told = seen(&bodies, &["countermark-ca", "http.server", "/.well-known/est/simpleenroll", "POST"]);
    let text = std::fs::read_to_string(&invite).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("secret = ")).unwrap().trim_matches('"');
    assert!(!has(&told, secret) && !has(&told, "authorization"), "{}", String::from_utf8_lossy(&told));

    let config = place.write(
        "rotate.toml",
        format!(
            "version = 1\n[[issuer]]\nname = \"authority\"\nkind = \"authority\"\nurl = \"{url}\"\n[[credential]]\nname = \"bot\"\n\
             identity = \"spiffe://agents.internal/agent/billing-bot\"\nissuer = \"authority\"\ndirectory = \"bot\"\n"
        ),
    );
    let (rotation, _) = traced(&collector, &["rotate", "--config", &config], "rotate runs");
    countermark(["ctl", "renew", "bot", "--config", &config]).done();
    seen(&bodies, &["countermark-rotate", "renewal", "http.client", "/.well-known/est/simplereenroll"]);
    assert_eq!(terminate(rotation), Some(0));
    assert_eq!(terminate(authority), Some(0));
}

#[test]
fn what_cannot_be_told_is_refused_and_a_collector_that_is_gone_is_nobodys_end() {
    let place = Place::with_authority();
    let serve = ["ca", "serve", "--dir", &place.text("ca"), "--dns", "localhost", "--listen", "127.0.0.1:0"];
    for (name, value, said) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.internal:4318", "http://127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
    ] {
        let mut command = command();
        command.args(serve).env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").env(name, value);
        crate::run::bounded(&mut command).failed(2, &[name, said]);
    }
    let (authority, _) = traced("http://127.0.0.1:9", &serve, "the authority serves");
    assert_eq!(terminate(authority), Some(0));
}
