//! Which issuer connect turns to, and what it asks for first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countermark_credential::Source as _;
use countermark_proxy::connect::{Connect, ConnectConfig, ConnectTokens};
use countermark_testkit::{AuthorizationServer, Client, Fault, TestSource};
use serde_json::{Value, json};

use crate::connect::Host;
use crate::resource::Resource;
use crate::support::*;

struct World {
    estate: Estate,
    source: TestSource,
    ledger: Resource,
}

impl World {
    async fn new() -> Self {
        let estate = Estate::of_today();
        let source = TestSource::new(estate.ca.mint(&estate.ca.server_spec("sso").dns("localhost")).credential());
        let ledger = Resource::start(&estate, "ledger").await;
        Self { estate, source, ledger }
    }

    /// An issuer at which the agent is registered.
    async fn issuer(&self, scopes: &[&str]) -> AuthorizationServer {
        let clock = Arc::new(self.estate.ca.clock().clone());
        let sso = AuthorizationServer::start(self.source.watch(), self.estate.trust().generations(), clock).await;
        let billing = Client::of_certificate("spiffe://agents.internal/agent/billing-bot");
        sso.register("billing", billing.with_scopes(scopes));
        sso
    }

    fn names(&self, issuers: &[&str]) {
        *self.ledger.state.issuers.lock().unwrap() = issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
    }

    async fn host(&self, change: impl FnOnce(&mut ConnectTokens)) -> Host {
        let mut tokens = ConnectTokens::new("billing");
        change(&mut tokens);
        let mut config = ConnectConfig::new(self.ledger.url.clone(), self.estate.agent_dir("billing-bot"));
        (config.server, config.tokens) = (Some("ledger".to_owned()), Some(tokens));
        let connect = Connect::open_at(config, Arc::new(self.estate.ca.clock().clone())).await.unwrap();
        let mut host = Host::start(connect);
        host.initialize().await;
        host
    }

    fn newest(&self) -> Value {
        self.ledger.state.shown.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

async fn ask(host: &mut Host, id: i64) -> Value {
    host.ask(&call(id, "read_balance", json!({}))).await
}

fn is_answered(answer: &Value) -> bool {
    answer["result"]["content"][0]["text"] == "read_balance"
}

#[tokio::test]
async fn an_issuer_is_kept_while_the_server_names_it_and_left_once_it_does_not() {
    let world = World::new().await;
    let (first, second) = (world.issuer(&[]).await, world.issuer(&[]).await);
    world.names(&[first.issuer()]);
    let mut host = world.host(|tokens| tokens.revoke = true).await;
    assert!(is_answered(&ask(&mut host, 1).await));
    world.names(&[second.issuer(), first.issuer()]);
    assert!(is_answered(&ask(&mut host, 2).await));
    assert_eq!((world.newest()["iss"].as_str(), second.token_requests()), (Some(first.issuer()), 0));

    world.names(&[second.issuer()]);
    let answer = ask(&mut host, 3).await;
    assert!(is_answered(&answer), "no call fails: {answer}");
    assert_eq!(world.newest()["iss"], second.issuer());
    assert!(is_answered(&ask(&mut host, 4).await));
    assert_eq!(second.token_requests(), 1);
    // What is left of the first is ended, too.
    until(async || first.revoked() == first.issued().len()).await;
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_left_for_another_one() {
    let world = World::new().await;
    let (first, second) = (world.issuer(&[]).await, world.issuer(&[]).await);
    world.names(&[first.issuer()]);
    let mut host = world.host(|_| ()).await;
    assert!(is_answered(&ask(&mut host, 1).await));
    drop(first);
    world.names(&[second.issuer()]);
    world.estate.ca.clock().advance(Duration::from_secs(301));
    assert!(is_answered(&ask(&mut host, 2).await));
    assert_eq!(world.newest()["iss"], second.issuer());
}

#[tokio::test]
async fn the_first_issuer_that_can_be_asked_is_taken() {
    let world = World::new().await;
    let sso = world.issuer(&[]).await;
    world.names(&["https://localhost:1", "http://localhost:1", sso.issuer()]);
    let mut host = world.host(|_| ()).await;
    assert!(is_answered(&ask(&mut host, 1).await));
    assert_eq!(world.newest()["iss"], sso.issuer());
}

#[tokio::test]
async fn an_issuer_that_does_not_know_the_client_is_left_for_the_next() {
    let world = World::new().await;
    let (first, second) = (world.issuer(&[]).await, world.issuer(&[]).await);
    first.disable("billing");
    world.names(&[first.issuer(), second.issuer()]);
    let mut host = world.host(|_| ()).await;
    for id in 1..4 {
        let answer = ask(&mut host, id).await;
        assert!(is_answered(&answer), "{answer}");
        assert_eq!(world.newest()["iss"], second.issuer());
    }
    assert_eq!((first.token_requests(), second.token_requests()), (1, 1), "the one that knows it is kept");
    // Who knew it once is left by nobody.
    first.register("billing", Client::of_certificate("spiffe://agents.internal/agent/billing-bot"));
    second.disable("billing");
    world.estate.ca.clock().advance(Duration::from_secs(301));
    assert!(ask(&mut host, 4).await.to_string().contains("invalid_client"));
    assert_eq!(first.token_requests(), 1);
}

#[tokio::test]
async fn a_client_that_no_issuer_knows_is_told_so_and_asks_them_once_in_ten_seconds() {
    let world = World::new().await;
    let (first, second) = (world.issuer(&[]).await, world.issuer(&[]).await);
    first.disable("billing");
    second.disable("billing");
    world.names(&[first.issuer(), second.issuer()]);
    let mut host = world.host(|_| ()).await;
    for id in 0..10 {
        let refused = ask(&mut host, id).await;
        let said = refused["error"]["message"].as_str().unwrap();
        assert!(said.contains("invalid_client") && said.contains(first.issuer()), "{refused}");
    }
    // When it was turned to, and once more when that was of no use.
    assert_eq!((first.token_requests(), second.token_requests()), (2, 2));
    second.register("billing", Client::of_certificate("spiffe://agents.internal/agent/billing-bot"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let answer = ask(&mut host, 10).await;
    assert!(is_answered(&answer), "{answer}");
    assert_eq!(world.newest()["iss"], second.issuer());
}

#[tokio::test]
async fn an_issuer_that_came_to_know_the_client_is_kept_like_any_other() {
    let world = World::new().await;
    let (first, second) = (world.issuer(&[]).await, world.issuer(&[]).await);
    first.disable("billing");
    second.disable("billing");
    world.names(&[first.issuer(), second.issuer()]);
    let mut host = world.host(|_| ()).await;
    assert!(ask(&mut host, 0).await.get("error").is_some());
    let billing = || Client::of_certificate("spiffe://agents.internal/agent/billing-bot");
    first.register("billing", billing());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert!(is_answered(&ask(&mut host, 1).await));
    assert_eq!(world.newest()["iss"], first.issuer());

    second.register("billing", billing());
    let asked = second.token_requests();
    first.disable("billing");
    world.estate.ca.clock().advance(Duration::from_secs(301));
    for id in 2..5 {
        assert!(ask(&mut host, id).await.to_string().contains("invalid_client"));
    }
    assert_eq!(second.token_requests(), asked);
}

#[tokio::test]
async fn a_server_whose_issuers_are_of_no_use_is_asked_once_in_ten_seconds() {
    let world = World::new().await;
    let sso = world.issuer(&[]).await;
    world.names(&["https://localhost:1"]);
    let mut host = world.host(|_| ()).await;
    for id in 0..10 {
        let refused = ask(&mut host, id).await;
        assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    }
    assert_eq!(world.ledger.state.described.load(Ordering::SeqCst), 1);
    world.names(&[sso.issuer()]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert!(is_answered(&ask(&mut host, 10).await));
}

#[tokio::test]
async fn an_issuer_that_is_configured_is_the_only_one() {
    let world = World::new().await;
    let (own, other) = (world.issuer(&[]).await, world.issuer(&[]).await);
    world.names(&[own.issuer()]);
    let mut host = world.host(|tokens| tokens.issuer = Some(own.issuer().to_owned())).await;
    assert!(is_answered(&ask(&mut host, 1).await));
    world.names(&[other.issuer()]);
    let refused = ask(&mut host, 2).await;
    assert!(refused.get("error").is_some(), "{refused}");
    assert_eq!((other.token_requests(), world.ledger.state.described.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn nobody_else_is_turned_to_where_the_server_names_nobody_who_can_be_believed() {
    let world = World::new().await;
    let sso = world.issuer(&[]).await;
    world.names(&[sso.issuer()]);
    let mut host = world.host(|_| ()).await;
    assert!(is_answered(&ask(&mut host, 1).await));
    // Another authority vouches for that one.
    let stranger = countermark_testkit::TestCa::with_clock(TRUST_DOMAIN, world.estate.ca.clock().clone());
    let source = TestSource::new(stranger.mint(&stranger.server_spec("sso").dns("localhost")).credential());
    let clock = Arc::new(world.estate.ca.clock().clone());
    let evil = AuthorizationServer::start(source.watch(), world.estate.trust().generations(), clock).await;
    world.names(&[evil.issuer()]);
    let refused = ask(&mut host, 2).await;
    assert!(refused.get("error").is_some(), "{refused}");
    assert_eq!(evil.token_requests(), 0);
    world.names(&[sso.issuer()]);
    assert!(is_answered(&ask(&mut host, 3).await), "the first is still held");
}

/// The server that names an issuer may be in league with it: it does not aim the agent's certificate at somebody else.
#[tokio::test]
async fn an_issuer_that_the_server_names_keeps_to_its_own_host() {
    let world = World::new().await;
    let sso = world.issuer(&[]).await;
    world.names(&[sso.issuer()]);
    let elsewhere = format!("{}/token", sso.issuer().replace("localhost", "127.0.0.1"));
    for endpoint in [elsewhere, format!("{}/token?action=delete", sso.issuer())] {
        for member in
            [json!({"token_endpoint": endpoint}), json!({"mtls_endpoint_aliases": {"token_endpoint": endpoint}})]
        {
            sso.fail(Fault::Metadata(member));
            let mut host = world.host(|_| ()).await;
            assert!(ask(&mut host, 1).await.get("error").is_some(), "{endpoint}");
            sso.recover();
        }
    }
    assert_eq!(sso.token_requests(), 0);
    sso.set_opaque(true);
    *world.ledger.state.takes_opaque.lock().unwrap() = true;
    let mut host = world.host(|_| ()).await;
    assert!(is_answered(&ask(&mut host, 1).await), "the issuer says that it is bound to the certificate");
    let issuer = sso.issuer().to_owned();
    sso.fail(Fault::Metadata(json!({"token_endpoint": format!("{issuer}/token?action=issue")})));
    let mut host = world.host(|tokens| tokens.issuer = Some(issuer)).await;
    assert!(is_answered(&ask(&mut host, 1).await), "whoever configures an issuer has said that it is believed");
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_not_asked_for_its_issuers_each_time() {
    let world = World::new().await;
    let sso = world.issuer(&[]).await;
    world.names(&[sso.issuer()]);
    let mut host = world.host(|_| ()).await;
    *world.ledger.state.refuses.lock().unwrap() = true;
    let described = world.ledger.state.described.load(Ordering::SeqCst);
    for id in 0..10 {
        assert!(ask(&mut host, id).await.get("error").is_some());
    }
    assert_eq!(world.ledger.state.described.load(Ordering::SeqCst), described + 1);
    assert_eq!(sso.token_requests(), 1);
}

#[tokio::test]
async fn the_first_scopes_are_those_of_the_challenge_then_the_configured_then_all() {
    for (challenge, configured, mine, asked) in [
        (Some("ledger.read"), &["ledger.write"][..], &["ledger.read", "ledger.write"][..], "ledger.read"),
        (None, &["ledger.write"], &["ledger.read", "ledger.write"], "ledger.write"),
        (None, &[], &["ledger.read", "ledger.write"], "ledger.read ledger.write"),
        // All are more than this client may have: it asks for none, and is told later which it lacks.
        (None, &[], &["ledger.read"], ""),
    ] {
        let world = World::new().await;
        let sso = world.issuer(mine).await;
        world.names(&[sso.issuer()]);
        let state = &world.ledger.state;
        *state.scopes_supported.lock().unwrap() = vec!["ledger.read".to_owned(), "ledger.write".to_owned()];
        *state.challenge.lock().unwrap() = challenge.map(str::to_owned);
        let configured = configured.iter().map(|scope| (*scope).to_owned()).collect();
        let mut host = world.host(|tokens| tokens.scopes = configured).await;
        assert!(is_answered(&ask(&mut host, 1).await));
        assert_eq!(world.newest()["scope"], asked, "{challenge:?}");
    }
}
