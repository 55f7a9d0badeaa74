//! Each way a right can end, over a kept connection and an open stream, on both versions of HTTP.

use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Credential;
use countermark_testkit::Spec;

use crate::support::{Estate, SOON, next_event, nobody};

async fn ends(http2: bool, who: fn(&Estate) -> Arc<Credential>, end: fn(&Estate, &Credential)) {
    kept_connection_ends(http2, who, end).await;
    open_stream_ends(http2, who, end).await;
}

async fn kept_connection_ends(http2: bool, who: fn(&Estate) -> Arc<Credential>, end: fn(&Estate, &Credential)) {
    let estate = Estate::new();
    let credential = who(&estate);
    let server = estate.serve().await;
    let mut kept = estate.kept(&server, Arc::clone(&credential), http2).await;
    assert_eq!(kept.text("/serial").await, credential.leaf().serial().to_string());
    end(&estate, &credential);
    kept.closes_soon().await;
    assert_eq!(server.acceptor.registry().len(), 0);
}

async fn open_stream_ends(http2: bool, who: fn(&Estate) -> Arc<Credential>, end: fn(&Estate, &Credential)) {
    let estate = Estate::new();
    let credential = who(&estate);
    let server = estate.serve().await;
    let mut kept = estate.kept(&server, Arc::clone(&credential), http2).await;
    let mut stream = kept.get("/stream").await.unwrap().into_body();
    assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "begun");
    end(&estate, &credential);
    let last = tokio::time::timeout(SOON, next_event(&mut stream)).await.expect("the stream goes on");
    assert!(last.is_none_or(|event| event.is_err()), "an event after the end of the right");
    kept.closes_soon().await;
}

fn agent(estate: &Estate) -> Arc<Credential> {
    estate.ca.agent("billing-bot")
}

fn mapped(estate: &Estate) -> Arc<Credential> {
    estate.trust.set_map(estate.map(&[("dns:etl.corp.internal", "legacy-etl")]));
    estate.ca.mint(&Spec::nameless().dns("etl.corp.internal")).credential()
}

fn expire(estate: &Estate, _: &Credential) {
    estate.ca.clock().advance(Duration::from_secs(3700));
}

fn revoke(estate: &Estate, who: &Credential) {
    estate.ca.revoke(who);
    estate.trust.set(estate.ca.trust());
}

fn withdraw_bundle(estate: &Estate, _: &Credential) {
    estate.trust.set(nobody());
}

fn unmap(estate: &Estate, _: &Credential) {
    estate.trust.set_map(estate.map(&[]));
}

fn map_to_another(estate: &Estate, _: &Credential) {
    estate.trust.set_map(estate.map(&[("dns:etl.corp.internal", "other")]));
}

macro_rules! ends {
    ($name:ident, $who:expr, $end:expr) => {
        mod $name {
            #[tokio::test]
            async fn on_http_1() {
                super::ends(false, $who, $end).await;
            }

            #[tokio::test]
            async fn on_http_2() {
                super::ends(true, $who, $end).await;
            }
        }
    };
}

ends!(expiry, super::agent, super::expire);
ends!(revocation, super::agent, super::revoke);
ends!(bundle_withdrawal, super::agent, super::withdraw_bundle);
ends!(mapping_removed, super::mapped, super::unmap);
ends!(mapping_changed, super::mapped, super::map_to_another);

#[tokio::test]
async fn another_agents_revocation_ends_nothing() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let mut kept = estate.kept(&server, agent(&estate), http2).await;
        let mut stream = estate.kept(&server, agent(&estate), http2).await;
        let mut stream = stream.get("/stream").await.unwrap().into_body();
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "begun");
        revoke(&estate, &estate.ca.agent("intern-bot"));
        assert_eq!(kept.text("/who").await, "billing-bot");
        estate.event("more");
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "more");
    }
}

#[tokio::test]
async fn whoever_runs_the_listener_may_end_an_identitys_connections() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let mut kept = estate.kept(&server, agent(&estate), true).await;
    let mut other = estate.kept(&server, estate.ca.agent("intern-bot"), true).await;
    assert_eq!(kept.text("/who").await, "billing-bot");
    assert_eq!(other.text("/who").await, "intern-bot");
    let ended = server
        .acceptor
        .registry()
        .end_where(|identity| (identity.name() == "billing-bot").then(|| "the policy names it no more".to_owned()));
    assert_eq!(ended, 1);
    kept.closes_soon().await;
    assert_eq!(other.text("/who").await, "intern-bot");
}

/// Its serial rolls two minutes before the end.
fn early(estate: &Estate) -> Arc<Credential> {
    estate.ca.mint(&estate.ca.agent_spec("billing-bot").serial(&[3])).credential()
}

/// Five per cent of the hour before its end at the earliest, a connection takes no new requests.
#[tokio::test]
async fn a_connection_winds_down_before_its_certificate_ends() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let mut kept = estate.kept(&server, early(&estate), http2).await;
        assert_eq!(kept.text("/who").await, "billing-bot");
        estate.ca.clock().advance(Duration::from_secs(3500));
        kept.closes_soon().await;
    }
}

#[tokio::test]
async fn an_open_answer_survives_the_winding_down() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let mut kept = estate.kept(&server, early(&estate), http2).await;
        let mut stream = kept.get("/stream").await.unwrap().into_body();
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "begun");
        estate.ca.clock().advance(Duration::from_secs(3500));
        tokio::time::sleep(Duration::from_millis(700)).await;
        estate.event("still here");
        assert_eq!(next_event(&mut stream).await.unwrap().unwrap(), "still here");
        estate.ca.clock().advance(Duration::from_secs(200));
        let last = tokio::time::timeout(SOON, next_event(&mut stream)).await.unwrap();
        assert!(last.is_none_or(|event| event.is_err()));
        drop(server);
    }
}

#[tokio::test]
async fn judging_costs_nothing_while_nothing_moves_and_says_why_when_it_does() {
    let estate = Estate::new();
    let met = countermark_testkit::pair(&estate.ca, "billing-bot", "ledger").await;
    let peer = met.server.peer().clone();
    peer.judge().unwrap();
    met.trust.set(nobody());
    let ended = tokio::time::timeout(SOON, peer.ended()).await.unwrap();
    assert!(ended.to_string().contains("no trust bundle"), "{ended}");
    assert_eq!(peer.judge().unwrap_err().kind(), "refused");
}

/// Nothing lands, no certificate ends: the list that vouched for the peer is too old.
#[tokio::test(start_paused = true)]
async fn a_connection_does_not_outlive_the_freshness_of_its_revocation_list() {
    let estate = Estate::new();
    estate.ca.set_crl_life(Duration::from_secs(600));
    let met = countermark_testkit::pair(&estate.ca, "billing-bot", "ledger").await;
    estate.ca.clock().advance(Duration::from_secs(1200));
    met.server.peer().judge().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(61), met.server.peer().ended()).await.unwrap();
    assert!(ended.to_string().contains("stale"), "{ended}");
}
