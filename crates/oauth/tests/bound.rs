//! Certificate, connections and tokens as one generation, under traffic.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countermark_credential::Source as _;
use countermark_mtls::{Acceptor, AcceptorConfig, ClientConfig, ExpectedServer, ServeConfig, VerifiedPeer, serve};
use countermark_oauth::{
    BoundClient, BoundClientConfig, Challenge, Question, TokenError, TokenVerifier, UnverifiedToken,
};
use countermark_testkit::{Fault, TestSource};
use http::header::WWW_AUTHENTICATE;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{RESOURCE, World};

/// A server that wants a bound token with a scope, and writes down the certificates that it saw.
struct Ledger {
    url: String,
    needs: Arc<Mutex<Vec<&'static str>>>,
    serials: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicUsize>,
    _running: DropGuard,
}

impl Ledger {
    async fn start(world: &World, verifier: Arc<TokenVerifier>) -> Self {
        let source = TestSource::new(world.ca.mint(&world.ca.server_spec("ledger").dns("localhost")).credential());
        let acceptor: Acceptor =
            Acceptor::new(source.watch(), world.trust.generations(), world.clock(), AcceptorConfig::default()).unwrap();
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
        let (needs, serials, refused) = (Arc::default(), Arc::default(), Arc::new(AtomicUsize::new(0)));
        let state = (verifier, Arc::clone(&needs), Arc::clone(&serials), Arc::clone(&refused));
        let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
            let state = state.clone();
            async move { Ok::<_, std::convert::Infallible>(answer(request, state).await) }
        });
        let over = CancellationToken::new();
        let limits = ServeConfig { drain_timeout: Duration::from_millis(100), ..ServeConfig::default() };
        tokio::spawn(async move {
            // The credential is followed for as long as it is served.
            let _source = source;
            serve(listener, acceptor, service, limits, over.child_token()).await;
        });
        let running = CancellationToken::new();
        Self { url, needs, serials, refused, _running: running.drop_guard() }
    }
}

type State = (Arc<TokenVerifier>, Arc<Mutex<Vec<&'static str>>>, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>);

async fn answer(
    request: Request<hyper::body::Incoming>,
    (verifier, needs, serials, refused): State,
) -> Response<Full<Bytes>> {
    let peer = request.extensions().get::<VerifiedPeer>().unwrap().clone();
    let challenge = |status: StatusCode, challenge: Challenge| {
        refused.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.to_value());
        response
    };
    let invalid = || Challenge { error: Some("invalid_token".to_owned()), ..Challenge::default() };
    let Ok(Some(token)) = UnverifiedToken::of(request.headers()) else {
        return challenge(StatusCode::UNAUTHORIZED, Challenge::default());
    };
    let Ok(token) = verifier.verify(&token, &peer).await else { return challenge(StatusCode::UNAUTHORIZED, invalid()) };
    let needs = needs.lock().unwrap().clone();
    if !needs.iter().all(|scope| token.scopes().iter().any(|held| &**held == *scope)) {
        let lack = Challenge {
            error: Some("insufficient_scope".to_owned()),
            scope: Some(needs.join(" ")),
            ..Challenge::default()
        };
        return challenge(StatusCode::FORBIDDEN, lack);
    }
    serials.lock().unwrap().push(peer.leaf().serial().to_string());
    Response::new(Full::from("ok"))
}

fn client(world: &World, source: &TestSource, scopes: &[&str]) -> (BoundClient, DropGuard) {
    let config = BoundClientConfig {
        registration: world.registration(),
        question: Question::of(RESOURCE).with_scopes(scopes.iter().copied()),
        expected: ExpectedServer::Name("ledger".to_owned()),
        client: ClientConfig::default(),
    };
    let client = BoundClient::new(source.watch(), world.trust.generations(), world.clock(), config).unwrap();
    let over = CancellationToken::new();
    tokio::spawn(client.clone().follow(over.clone()));
    (client, over.drop_guard())
}

async fn call(client: &BoundClient, url: &str) -> StatusCode {
    let mut request = Request::new(Full::from("{}"));
    *request.uri_mut() = url.parse().unwrap();
    client.request(request).await.map(|response| response.status()).unwrap()
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_and_token_change_under_traffic_without_a_failed_call() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let source = TestSource::new(world.ca.agent("billing-bot"));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, url, stop, calls) =
                (client.clone(), ledger.url.clone(), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(call(&client, &url).await, StatusCode::OK);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    until(|| calls.load(Ordering::SeqCst) > 20).await;
    for number in 2..=6 {
        source.set(world.ca.agent("billing-bot"));
        until(|| client.generation().number() == number).await;
        // More than are under way with the one before.
        let seen = calls.load(Ordering::SeqCst);
        until(|| calls.load(Ordering::SeqCst) > seen + 20).await;
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(ledger.refused.load(Ordering::SeqCst), 0, "no call was even tried twice");
    let mut serials = ledger.serials.lock().unwrap().clone();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 6, "each certificate served");
    assert_eq!(world.sso.token_requests(), 6, "one token for each");
}

#[tokio::test]
async fn the_tokens_of_earlier_generations_are_ended_too() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let source = TestSource::new(world.ca.agent("billing-bot"));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    for number in 1..=3 {
        until(|| client.generation().number() == number).await;
        assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
        source.set(world.ca.agent("billing-bot"));
    }
    until(|| client.generation().number() == 4).await;
    client.revoke_all().await.unwrap();
    assert_eq!((world.sso.issued().len(), world.sso.revoked()), (4, 4));
    // What hangs is given up, and nobody waits for it longer.
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    world.sso.fail(Fault::Slow(Duration::from_secs(3600)));
    let began = std::time::Instant::now();
    assert!(matches!(client.revoke_all().await, Err(TokenError::Slow { .. })));
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_waits_for_its_token() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let first = world.ca.agent("billing-bot");
    let source = TestSource::new(Arc::clone(&first));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    world.sso.fail(Fault::Status(503));
    source.set(world.ca.agent("billing-bot"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((client.generation().number(), call(&client, &ledger.url).await), (1, StatusCode::OK));
    world.sso.recover();
    until(|| client.generation().number() == 2).await;
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    assert_eq!(ledger.refused.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn more_scopes_are_asked_for_once_and_remembered() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let source = TestSource::new(world.ca.agent("billing-bot"));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    *ledger.needs.lock().unwrap() = vec!["ledger.read", "ledger.write"];
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    assert_eq!(ledger.refused.load(Ordering::SeqCst), 1);
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    assert_eq!(ledger.refused.load(Ordering::SeqCst), 1, "the second call knows");
    *ledger.needs.lock().unwrap() = vec!["root"];
    assert_eq!(call(&client, &ledger.url).await, StatusCode::FORBIDDEN, "what is not this client's stays refused");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let source = TestSource::new(world.ca.agent("billing-bot"));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    // What the server takes for expired is still good by its client's book.
    world.sso.rotate_keys("key-2", false);
    // Ten seconds are young.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let before = world.sso.token_requests();
    let fresh = Ledger::start(&world, world.verifier()).await;
    assert_eq!(call(&client, &fresh.url).await, StatusCode::OK);
    assert_eq!((world.sso.token_requests(), fresh.refused.load(Ordering::SeqCst)), (before + 1, 1));
    assert_eq!(call(&client, &fresh.url).await, StatusCode::OK);
    // A token that was asked for just now and is refused is refused for another reason.
    world.sso.fail(Fault::Claims(serde_json::json!({"aud": "https://other.test"})));
    let (stranger, _over) = self::client(&world, &source, &["ledger.read"]);
    let before = world.sso.token_requests();
    assert_eq!(call(&stranger, &fresh.url).await, StatusCode::UNAUTHORIZED);
    assert_eq!(world.sso.token_requests(), before + 1, "no second one is asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_is_not_given_does_not_hold_up_the_next_certificate() {
    let world = World::new().await;
    let ledger = Ledger::start(&world, world.verifier()).await;
    let source = TestSource::new(world.ca.agent("billing-bot"));
    let (client, _over) = client(&world, &source, &["ledger.read"]);
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
    *ledger.needs.lock().unwrap() = vec!["root"];
    assert_eq!(call(&client, &ledger.url).await, StatusCode::FORBIDDEN);
    ledger.needs.lock().unwrap().clear();
    source.set(world.ca.agent("billing-bot"));
    until(|| client.generation().number() == 2).await;
    assert_eq!(call(&client, &ledger.url).await, StatusCode::OK);
}
