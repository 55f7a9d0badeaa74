//! `guard --crl URL`: a revocation at a running authority, in processes of their own.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use countermark_credential::{Credential, DomainTrust, Revocation, Trust, directory};
use countermark_identity::{SanMap, SystemClock};
use countermark_mtls::{Client, ClientConfig, ExpectedServer, TrustGenerations};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::watch;

use crate::{
    run::{Place, countermark},
    serve::{start, terminate},
    service::serving,
};

/// A client of one identity, for `/server/ledger`.
pub(crate) fn client(identity: &str) -> Client {
    let held = directory::read(identity.as_ref()).unwrap();
    let loaded = directory::load_trust(identity.as_ref()).unwrap();
    let own = held.credential.spiffe_id().unwrap().trust_domain().clone();
    let domains = loaded.bundles.into_iter().map(|bundle| DomainTrust {
        bundle,
        crls: loaded.crls.iter().flat_map(|domain| domain.crls.iter().cloned()).collect(),
        revocation: Revocation::Required,
    });
    let trust = Trust::new(domains.collect()).unwrap();
    let generations = TrustGenerations::fixed(Arc::new(trust), Arc::new(SanMap::empty(own)));
    let (_, credential): (_, watch::Receiver<Arc<Credential>>) = watch::channel(held.credential);
    let expected = ExpectedServer::Name("ledger".to_owned());
    Client::new(credential, generations.watch(), expected, Arc::new(SystemClock), ClientConfig::default()).unwrap()
}

/// An MCP server whose every answer is a stream without an end.
pub(crate) fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 16 * 1024]);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"x\"}}\n\n";
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(chunk.as_bytes());
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    url
}

pub(crate) fn call() -> Request<Full<bytes::Bytes>> {
    let body = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_stream", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    Request::post("https://localhost/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "read_stream")
        .body(Full::from(body.to_string()))
        .unwrap()
}

fn guard_args(place: &Place, upstream: &str, crl: &str) -> Vec<String> {
    let (identity, policy) = (place.text("ledger"), place.text("policy.toml"));
    let args = ["guard", "--listen", "127.0.0.1:0", "--upstream", upstream, "--identity", &identity];
    args.iter().chain(&["--policy", policy.as_str(), "--crl", crl]).map(|arg| (*arg).to_owned()).collect()
}

/// Opens a stream as billing-bot, revokes something at the authority, and measures how long the stream goes on.
pub(crate) async fn cut_off(place: &Place, guard: &str, bot: &str, what: String) -> Duration {
    let mut request = call();
    *request.uri_mut() = guard.parse().unwrap();
    let agent = client(bot);
    let mut stream = agent.request(request).await.unwrap().into_body();
    for _ in 0..5 {
        stream.frame().await.unwrap().unwrap();
    }
    let ca = place.text("ca");
    let revoke = tokio::task::spawn_blocking(move || {
        countermark(["ca", "revoke", &what, "--ca", &ca]).done();
        Instant::now()
    });
    let end = async { while let Some(Ok(_)) = stream.frame().await {} };
    tokio::time::timeout(Duration::from_secs(30), end).await.expect("the stream of a revoked agent goes on");
    let ended = Instant::now();
    ended.saturating_duration_since(revoke.await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_at_the_authority_ends_an_open_stream_at_a_guard_that_asks_it() {
    let place = Place::with_authority();
    place.mint("server", "ledger");
    let bot = place.mint("agent", "billing-bot");
    place.policy();
    let (authority, url) = serving(&place, &[]);
    let (guard, line) = start(&guard_args(&place, &endless(), &url), "guard serves");
    let at = line.split("url=").nth(1).unwrap().trim_matches('"').to_owned();
    let took = cut_off(&place, &at, &bot, "billing-bot".to_owned()).await;
    println!("from the end of `ca revoke` to the end of the stream: {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let mut request = call();
    *request.uri_mut() = at.parse().unwrap();
    client(&bot).request(request).await.unwrap_err();
    assert_eq!(terminate(guard), Some(0));
    assert_eq!(terminate(authority), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revocation_of_an_intermediate_ends_the_streams_of_all_whom_it_certified() {
    let place = Place::with_authority();
    place.mint("server", "ledger");
    let bot = place.mint("agent", "billing-bot");
    place.policy();
    let (authority, url) = serving(&place, &[]);
    let (guard, line) = start(&guard_args(&place, &endless(), &url), "guard serves");
    let at = line.split("url=").nth(1).unwrap().trim_matches('"').to_owned();
    let listed = countermark(["ca", "list", "--ca", &place.text("ca"), "--json"]).done().json();
    let key_id = listed[0]["issuer"].as_str().unwrap().to_owned();
    let took = cut_off(&place, &at, &bot, format!("intermediate/{key_id}")).await;
    println!("from the end of `ca revoke intermediate/…` to the end of the stream: {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    countermark(["ca", "revoke", "intermediate/00000000", "--ca", &place.text("ca")]).failed(3, &["no intermediate"]);
    let far = ["ca", "revoke", "intermediate/00000000", "--ca", &url, "--identity", &place.mint("admin", "root-admin")];
    countermark(far).failed(2, &["root.key"]);
    assert_eq!(terminate(guard), Some(0));
    assert_eq!(terminate(authority), Some(0));
}

#[test]
fn a_url_that_is_no_authoritys_starts_nothing() {
    let place = Place::with_authority();
    place.mint("server", "ledger");
    place.policy();
    for wrong in ["http://localhost:1", "ftp://x"] {
        countermark(guard_args(&place, "http://127.0.0.1:9/mcp", wrong)).failed(2, &["--crl https://ca.internal:8443"]);
    }
    std::fs::remove_file(place.path("ledger/trust/current/agents.internal.crl.pem")).unwrap();
    countermark(guard_args(&place, "http://127.0.0.1:9/mcp", "https://localhost:1"))
        .failed(3, &["no revocation list of agents.internal", "https://localhost:1/v1/crl", "countermark rotate"]);
}
