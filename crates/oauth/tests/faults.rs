//! An authorization server that misbehaves: each time a reason, never a token, never a body in it.

use std::time::Duration;

use countermark_oauth::{DiscoveryError, HttpError, TokenError};
use countermark_testkit::Fault;
use serde_json::json;

use crate::world::{World, question};

async fn refused(world: &World) -> TokenError {
    world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap_err()
}

#[tokio::test]
async fn answers_that_are_no_token() {
    let world = World::new().await;
    for answer in [
        json!({"expires_in": "300"}),
        json!({"expires_in": -1}),
        json!({"access_token": null}),
        json!({"access_token": "two words"}),
        json!({"access_token": ""}),
        json!({"token_type": null}),
        json!({"token_type": "DPoP"}),
        json!({"token_type": "mac"}),
    ] {
        world.sso.recover();
        world.sso.fail(Fault::Answer(answer.clone()));
        let error = refused(&world).await;
        assert!(matches!(error, TokenError::Malformed { .. }), "{answer}: {error}");
        let said = format!("{error} {error:?}");
        assert!(world.sso.issued().iter().all(|token| !said.contains(token.as_str())), "{said}");
    }
}

#[tokio::test]
async fn a_life_that_is_not_said_is_a_short_one() {
    let world = World::new().await;
    world.sso.fail(Fault::Answer(json!({"expires_in": null})));
    let token = world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap();
    assert_eq!(token.not_after().as_secs(), world.clock().now().as_secs() + 60);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let world = World::new().await;
    world.sso.fail(Fault::Redirect);
    let error = refused(&world).await;
    assert!(
        matches!(error, TokenError::Discovery(DiscoveryError::Http(HttpError::Redirect { status: 302, .. }))),
        "{error}"
    );
}

#[tokio::test]
async fn html_and_fifty_megabytes_are_no_metadata() {
    let world = World::new().await;
    world.sso.fail(Fault::Html);
    let error = refused(&world).await;
    assert!(matches!(error, TokenError::Discovery(DiscoveryError::Malformed { .. })), "{error}");
    world.sso.recover();
    world.sso.fail(Fault::Huge);
    let error = refused(&world).await;
    assert!(matches!(error, TokenError::Discovery(DiscoveryError::Http(HttpError::Long { .. }))), "{error}");
}

#[tokio::test]
async fn html_in_place_of_a_token_is_no_token() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    tokens.metadata().await.unwrap();
    world.sso.fail(Fault::Html);
    let error = tokens.token(&question()).await.unwrap_err();
    assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn another_issuer_is_not_believed() {
    let world = World::new().await;
    world.sso.fail(Fault::Metadata(json!({"issuer": "https://evil.test"})));
    let error = refused(&world).await;
    assert!(matches!(error, TokenError::Discovery(DiscoveryError::OtherIssuer { .. })), "{error}");
}

#[tokio::test]
async fn a_stranger_in_the_servers_place_is_told_nothing() {
    let world = World::new().await;
    let mut registration = world.registration();
    registration.roots = countermark_testkit::TestCa::new("other.internal").bundle().roots().to_vec().into();
    let error = world.tokens_as(registration, world.ca.agent("billing-bot")).token(&question()).await.unwrap_err();
    assert!(matches!(error, TokenError::Discovery(DiscoveryError::Http(HttpError::Unreachable { .. }))), "{error}");
    assert_eq!(world.sso.token_requests(), 0);
}

#[tokio::test]
async fn nothing_is_asked_in_clear() {
    let world = World::new().await;
    let mut registration = world.registration();
    registration.issuer = registration.issuer.replace("https://", "http://");
    let error = world.tokens_as(registration, world.ca.agent("billing-bot")).token(&question()).await.unwrap_err();
    assert!(matches!(error, TokenError::Discovery(DiscoveryError::NotIssuer { .. })), "{error}");
}

#[tokio::test]
async fn a_slow_server_holds_up_nobody_who_has_a_token() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let first = tokens.token(&question()).await.unwrap();
    world.sso.fail(Fault::Slow(Duration::from_secs(5)));
    world.ca.clock().set(first.refresh_at());
    let held = tokio::time::timeout(Duration::from_secs(1), tokens.token(&question())).await;
    assert!(held.is_ok_and(|token| token.is_ok()));
}
