//! The server's side with an issuer that publishes its keys and can be asked.

use std::sync::Arc;
use std::time::Duration;

use countermark_mtls::VerifiedPeer;
use countermark_oauth::{
    ClientAuthentication, Introspector, PublishedKeys, TokenRefusal, TokenVerifier, UnverifiedToken,
};
use countermark_testkit::{Fault, pair};
use futures_util::FutureExt as _;
use serde_json::json;

use crate::world::{RESOURCE, World, question};

/// The agent's end of a real handshake with the server, and its token.
async fn caller(world: &World) -> (countermark_testkit::Pair, UnverifiedToken) {
    let met = pair(&world.ca, "billing-bot", "ledger").await;
    let credential = countermark_credential::Source::watch(&met.agent_source).borrow().clone();
    let token = world.tokens(credential).token(&question()).await.unwrap();
    (met, UnverifiedToken::parse(token.expose()).unwrap())
}

fn peer(met: &countermark_testkit::Pair) -> &VerifiedPeer {
    met.server.peer()
}

#[tokio::test]
async fn a_token_over_the_connection_that_it_is_bound_to() {
    let world = World::new().await;
    let verifier = world.verifier();
    let (met, token) = caller(&world).await;
    let verified = verifier.verify(&token, peer(&met)).await.unwrap();
    assert_eq!((verified.client(), verified.scopes()), ("agent-a", &["ledger.read".into()][..]));
    let other = pair(&world.ca, "billing-bot", "ledger").await;
    assert_eq!(verifier.verify(&token, peer(&other)).await.unwrap_err(), TokenRefusal::Mismatch, "a newer certificate");
    let thief = pair(&world.ca, "intern-bot", "ledger").await;
    assert_eq!(verifier.verify(&token, peer(&thief)).await.unwrap_err(), TokenRefusal::Mismatch, "another agent's");
}

#[tokio::test]
async fn keys_that_change_every_minute() {
    let world = World::new().await;
    let verifier = world.verifier();
    let (met, token) = caller(&world).await;
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
    let asked = world.sso.key_requests();
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
    assert_eq!(world.sso.key_requests(), asked, "the second answer asks nobody");
}

fn introspecting(world: &World, always: bool) -> TokenVerifier {
    let asks =
        Introspector::new(world.http(), world.sso.issuer(), "ledger", ClientAuthentication::Certificate, world.clock());
    let asks = if always { asks.for_every_token() } else { asks }.with_ttl(Duration::from_secs(5));
    let keys = PublishedKeys::new(world.http(), world.sso.issuer());
    TokenVerifier::new(world.clock()).with_issuer(world.rules(), Box::new(keys), Some(asks))
}

#[tokio::test]
async fn an_opaque_token_is_asked_about() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    assert!(world.verifier().verify(&token, peer(&met)).await.is_err(), "where nobody can be asked");
    let verifier = introspecting(&world, false);
    let verified = verifier.verify(&token, peer(&met)).await.unwrap();
    assert_eq!((verified.client(), verified.scopes()), ("agent-a", &["ledger.read".into()][..]));
    let thief = pair(&world.ca, "intern-bot", "ledger").await;
    assert_eq!(verifier.verify(&token, peer(&thief)).await.unwrap_err(), TokenRefusal::Mismatch);
    let invented = UnverifiedToken::parse("invented").unwrap();
    assert_eq!(verifier.verify(&invented, peer(&met)).await.unwrap_err(), TokenRefusal::Inactive);
}

#[tokio::test]
async fn a_thousand_calls_with_one_opaque_token_ask_once() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let asked = world.sso.introspections();
    let verifier = Arc::new(introspecting(&world, false));
    world.sso.fail(Fault::Slow(Duration::from_millis(100)));
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let (verifier, token, peer) = (Arc::clone(&verifier), token.clone(), peer(&met).clone());
            tokio::spawn(async move { verifier.verify(&token, &peer).await })
        })
        .collect();
    // All of them have their turn, and whoever came first gives up in the midst of it, which holds up nobody.
    tokio::task::yield_now().await;
    calls[0].abort();
    for call in calls.into_iter().skip(1) {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(world.sso.introspections(), asked + 1);
}

/// Opaque tokens are easily invented: whoever sends many does not hold up the others.
#[tokio::test]
async fn one_agent_cannot_keep_the_others_from_being_asked_about() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let flood = pair(&world.ca, "intern-bot", "ledger").await;
    let verifier = Arc::new(introspecting(&world, false));
    world.sso.fail(Fault::Slow(Duration::from_millis(300)));
    let invented: Vec<_> = (0..200)
        .map(|number| {
            let (verifier, peer) = (Arc::clone(&verifier), peer(&flood).clone());
            let token = UnverifiedToken::parse(&format!("invented-{number}")).unwrap();
            tokio::spawn(async move { verifier.verify(&token, &peer).await.unwrap_err() })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
    let mut busy = 0;
    for call in invented {
        match call.await.unwrap() {
            TokenRefusal::Inactive => {}
            refusal => {
                assert_eq!(refusal, TokenRefusal::Unavailable("introspection"));
                busy += 1;
            }
        }
    }
    assert!((80..200 - 16).contains(&busy), "a quarter of the places, for which a second is waited: {busy}");
}

/// A gateway calls for many people: their tokens' answers lapse together.
#[tokio::test]
async fn an_agent_with_many_good_tokens_waits_for_its_share() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let met = pair(&world.ca, "billing-bot", "ledger").await;
    let credential = countermark_credential::Source::watch(&met.agent_source).borrow().clone();
    let mut tokens = Vec::new();
    for _ in 0..40 {
        let token = world.tokens(Arc::clone(&credential)).token(&question()).await.unwrap();
        tokens.push(UnverifiedToken::parse(token.expose()).unwrap());
    }
    let verifier = introspecting(&world, false);
    world.sso.fail(Fault::Slow(Duration::from_millis(50)));
    let calls = tokens.iter().map(|token| verifier.verify(token, peer(&met)));
    for call in futures_util::future::join_all(calls).await {
        assert!(call.is_ok(), "{call:?}");
    }
}

/// Who gives up before its turn has asked nothing: nobody's questions pile up.
#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_asked() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let flood = pair(&world.ca, "intern-bot", "ledger").await;
    let verifier = introspecting(&world, false);
    assert!(verifier.verify(&token, peer(&met)).await.is_ok(), "its metadata is known");
    let asked = world.sso.introspections();
    world.sso.fail(Fault::Slow(Duration::from_millis(500)));
    for number in 0..2000 {
        let invented = UnverifiedToken::parse(&format!("invented-{number}")).unwrap();
        assert!(verifier.verify(&invented, peer(&flood)).now_or_never().is_none());
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.sso.introspections(), asked + 16, "the share of one agent");
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_asked_for_again_at_once() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let verifier = introspecting(&world, false);
    assert!(verifier.verify(&token, peer(&met)).await.is_ok(), "its metadata is known");
    let asked = world.sso.introspections();
    world.sso.fail(Fault::Html);
    for number in 0..20 {
        let invented = UnverifiedToken::parse(&format!("invented-{number}")).unwrap();
        let refusal = verifier.verify(&invented, peer(&met)).await.unwrap_err();
        assert_eq!(refusal, TokenRefusal::Unavailable("introspection"));
    }
    assert!(world.sso.introspections() <= asked + 2);
}

/// What an issuer says of one token may be the doing of whoever holds it.
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_about_one_token() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, good) = caller(&world).await;
    let credential = countermark_credential::Source::watch(&met.agent_source).borrow().clone();
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let verifier = introspecting(&world, false);
    for odd in [json!({ "deep": deep }), json!({"long": "x".repeat(70 * 1024)})] {
        world.sso.fail(Fault::Claims(odd));
        let odd = world.tokens(Arc::clone(&credential)).token(&question()).await.unwrap();
        world.sso.recover();
        world.ca.clock().advance(Duration::from_secs(5));
        assert!(verifier.verify(&good, peer(&met)).await.is_ok());
        let odd = UnverifiedToken::parse(odd.expose()).unwrap();
        world.ca.clock().advance(Duration::from_secs(5));
        assert_eq!(verifier.verify(&odd, peer(&met)).await.unwrap_err(), TokenRefusal::Unavailable("introspection"),);
        assert!(verifier.verify(&good, peer(&met)).await.is_ok());
    }
}

#[tokio::test]
async fn tokens_wait_five_seconds_at_most_for_an_issuer_that_hangs() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, _) = caller(&world).await;
    let verifier = introspecting(&world, false);
    // Its metadata is not known yet either.
    world.sso.fail(Fault::Slow(Duration::from_secs(20)));
    let tokens: Vec<_> = (0..40).map(|number| UnverifiedToken::parse(&format!("opaque-{number}")).unwrap()).collect();
    let calls = tokens.iter().map(|token| verifier.verify(token, peer(&met)));
    let began = std::time::Instant::now();
    for call in futures_util::future::join_all(calls).await {
        assert_eq!(call.unwrap_err(), TokenRefusal::Unavailable("introspection"));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Nor is it asked once for each invented token, whoever sends them.
#[tokio::test]
async fn an_issuer_that_wants_to_be_left_alone_is() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let verifier = introspecting(&world, false);
    assert!(verifier.verify(&token, peer(&met)).await.is_ok(), "its metadata is known");
    for (status, least, most) in [(429, 1, 3), (401, 1, 3), (400, 100, 100), (403, 100, 100), (413, 100, 100)] {
        let before = world.sso.introspections();
        world.sso.fail(Fault::Status(status));
        for number in 0..100 {
            let invented = UnverifiedToken::parse(&format!("invented-{status}-{number}")).unwrap();
            let refusal = verifier.verify(&invented, peer(&met)).await.unwrap_err();
            assert_eq!(refusal, TokenRefusal::Unavailable("introspection"), "{status}");
        }
        let asked = world.sso.introspections() - before;
        assert!((least..=most).contains(&asked), "{status}: {asked}");
        world.sso.recover();
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn a_token_that_is_not_active_is_asked_about_once_while_that_holds() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    world.sso.issued().iter().for_each(|token| world.sso.revoke(token));
    let asked = world.sso.introspections();
    let verifier = introspecting(&world, false);
    let inactive = async |expected: usize| {
        for _ in 0..3 {
            assert_eq!(verifier.verify(&token, peer(&met)).await.unwrap_err(), TokenRefusal::Inactive);
        }
        assert_eq!(world.sso.introspections(), asked + expected);
    };
    inactive(1).await;
    // Over whatever certificate it comes.
    let thief = pair(&world.ca, "intern-bot", "ledger").await;
    assert_eq!(verifier.verify(&token, peer(&thief)).await.unwrap_err(), TokenRefusal::Inactive);
    world.ca.clock().advance(Duration::from_secs(4));
    inactive(1).await;
    world.ca.clock().advance(Duration::from_secs(1));
    inactive(2).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_makes_no_token_inactive() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let (met, token) = caller(&world).await;
    let verifier = introspecting(&world, false);
    world.sso.fail(Fault::Status(503));
    let refusal = verifier.verify(&token, peer(&met)).await.unwrap_err();
    assert_eq!(refusal, TokenRefusal::Unavailable("introspection"));
    world.sso.recover();
    // It was left alone for a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
}

#[tokio::test]
async fn a_revoked_token_passes_no_longer_than_an_answer_holds() {
    let world = World::new().await;
    let (met, token) = caller(&world).await;
    let verifier = introspecting(&world, true);
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
    world.sso.issued().iter().for_each(|token| world.sso.revoke(token));
    assert!(verifier.verify(&token, peer(&met)).await.is_ok(), "for five seconds");
    world.ca.clock().advance(Duration::from_secs(5));
    assert_eq!(verifier.verify(&token, peer(&met)).await.unwrap_err(), TokenRefusal::Inactive);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_lets_nobody_in() {
    let world = World::new().await;
    let (met, token) = caller(&world).await;
    let verifier = introspecting(&world, true);
    assert!(verifier.verify(&token, peer(&met)).await.is_ok());
    world.ca.clock().advance(Duration::from_secs(5));
    for fault in [Fault::Status(500), Fault::Html, Fault::Redirect, Fault::Huge] {
        world.sso.recover();
        world.sso.fail(fault.clone());
        // It was left alone for a second after the failure before.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let refusal = verifier.verify(&token, peer(&met)).await.unwrap_err();
        assert_eq!(refusal, TokenRefusal::Unavailable("introspection"), "{fault:?}");
    }
}

#[tokio::test]
async fn what_the_issuer_signed_wrongly_is_refused() {
    let world = World::new().await;
    let verifier = world.verifier();
    let met = pair(&world.ca, "billing-bot", "ledger").await;
    let now = world.clock().now().as_secs();
    let thumbprint = peer(&met).leaf().thumbprint().to_base64url();
    let claims = json!({
        "iss": world.sso.issuer(), "sub": "s", "client_id": "agent-a", "aud": RESOURCE, "iat": now, "exp": now + 60,
        "cnf": {"x5t#S256": thumbprint},
    });
    let good = UnverifiedToken::parse(&world.sso.sign(&json!({}), &claims)).unwrap();
    assert!(verifier.verify(&good, peer(&met)).await.is_ok());
    let id_token = UnverifiedToken::parse(&world.sso.sign(&json!({"typ": "JWT"}), &claims)).unwrap();
    assert_eq!(verifier.verify(&id_token, peer(&met)).await.unwrap_err(), TokenRefusal::Type);
}

#[tokio::test]
async fn the_keys_are_followed_in_the_background() {
    let world = World::new().await;
    let verifier = world.verifier();
    assert!(!verifier.is_ready());
    let over = tokio_util::sync::CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&verifier).follow(over.clone()));
    for _ in 0..500 {
        if verifier.is_ready() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(verifier.is_ready());
    over.cancel();
    following.await.unwrap();
}
