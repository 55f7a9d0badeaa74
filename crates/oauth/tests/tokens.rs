//! Acquired, kept, replaced.

use std::sync::Arc;
use std::time::Duration;

use countermark_identity::Secret;
use countermark_oauth::{Bound, ClientAuthentication, Misbound, Question, SigningKey, TokenError};
use countermark_testkit::{Client, Fault};
use serde_json::json;

use crate::secrets::Written;
use crate::world::{RESOURCE, World, question};

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_that_it_was_asked_for_with() {
    let world = World::new().await;
    let credential = world.ca.agent("billing-bot");
    let token = world.tokens(Arc::clone(&credential)).token(&question()).await.unwrap();
    assert_eq!(token.binding(), Bound::Certificate(*credential.leaf().thumbprint()));
    assert_eq!(token.scopes(), ["ledger.read"]);
    let claims = token.unverified_claims().unwrap();
    assert_eq!((claims["aud"].as_str(), claims["client_id"].as_str()), (Some(RESOURCE), Some("agent-a")));
    assert!(token.header().is_sensitive());
    assert!(!format!("{token:?} {:?}", token.header()).contains(token.expose()));
}

#[tokio::test]
async fn ten_thousand_callers_ask_once() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.token(&question()).await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.push(caller.await.unwrap());
    }
    assert!(all.iter().all(|token| Arc::ptr_eq(token, &all[0])));
    assert_eq!(world.sso.token_requests(), 1);
}

#[tokio::test]
async fn other_questions_are_other_tokens_and_the_same_one_is_the_same() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let ask = |question: Question| {
        let tokens = Arc::clone(&tokens);
        async move { tokens.token(&question).await.unwrap() }
    };
    let one = ask(Question::of(RESOURCE).with_scopes(["ledger.read", "ledger.write"])).await;
    let same =
        ask(Question::of(RESOURCE).with_scopes(["ledger.write"]).with_scopes(["ledger.read", "ledger.read"])).await;
    assert!(Arc::ptr_eq(&one, &same));
    let other = ask(Question::of("https://crm.test/mcp")).await;
    assert!(!Arc::ptr_eq(&one, &other));
    assert_eq!(world.sso.token_requests(), 2);
}

#[tokio::test]
async fn a_token_that_ages_is_replaced_behind_its_users_backs() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let first = tokens.token(&question()).await.unwrap();
    assert!(first.refresh_at() < first.not_after());
    world.ca.clock().set(first.refresh_at());
    let still = tokens.token(&question()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &still), "nobody waits");
    let newer = until_other(&tokens, &first).await;
    assert!(newer.not_after() > first.not_after());
    assert_eq!(world.sso.token_requests(), 2);
}

async fn until_other(
    tokens: &Arc<countermark_oauth::Tokens>,
    first: &Arc<countermark_oauth::BoundToken>,
) -> Arc<countermark_oauth::BoundToken> {
    for _ in 0..500 {
        let token = tokens.token(&question()).await.unwrap();
        if !Arc::ptr_eq(&token, first) {
            return token;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the token was not replaced");
}

#[tokio::test]
async fn an_old_token_serves_while_the_server_is_down_and_no_longer_than_it_lives() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let first = tokens.token(&question()).await.unwrap();
    world.sso.fail(Fault::Status(503));
    world.ca.clock().set(first.refresh_at());
    for _ in 0..20 {
        assert!(Arc::ptr_eq(&first, &tokens.token(&question()).await.unwrap()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.ca.clock().set(first.not_after());
    let error = tokens.token(&question()).await.unwrap_err();
    let asked = world.sso.token_requests();
    assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
    for _ in 0..20 {
        assert_eq!(tokens.token(&question()).await.unwrap_err(), error, "the server is left alone for a while");
    }
    assert_eq!(world.sso.token_requests(), asked);
    world.sso.recover();
    for _ in 0..50 {
        if tokens.token(&question()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the server has recovered, and is not asked again");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_certificate() {
    let world = World::new().await;
    world.sso.set_life(86_400);
    let spec = world.ca.agent_spec("billing-bot").ttl(Duration::from_secs(600));
    let credential = world.ca.mint(&spec).credential();
    let token = world.tokens(Arc::clone(&credential)).token(&question()).await.unwrap();
    assert_eq!(token.not_after(), credential.leaf().not_after());
}

#[tokio::test]
async fn a_token_that_is_bound_to_something_else_is_not_used() {
    let world = World::new().await;
    for (cnf, expected) in [
        (json!({"cnf": null}), Misbound::Nothing),
        (json!({"cnf": {"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}), Misbound::Other),
        (json!({"cnf": {"jkt": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}), Misbound::Other),
        (json!({"cnf": "x"}), Misbound::Other),
    ] {
        world.sso.recover();
        world.sso.fail(Fault::Claims(cnf.clone()));
        let error = world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap_err();
        assert_eq!(error, TokenError::Misbound(expected), "{cnf}");
    }
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_before_it_is_used() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let credential = world.ca.agent("billing-bot");
    let tokens = world.tokens(Arc::clone(&credential));
    let token = tokens.token(&question()).await.unwrap();
    assert_eq!(token.binding(), Bound::Certificate(*credential.leaf().thumbprint()));
    assert!(token.unverified_claims().is_none());
    tokens.token(&question()).await.unwrap();
    assert_eq!(world.sso.introspections(), 1);
    for (cnf, expected) in [
        (json!({"cnf": null}), Misbound::Nothing),
        (json!({"cnf": {"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}), Misbound::Other),
    ] {
        world.sso.recover();
        world.sso.fail(Fault::Claims(cnf));
        let error = world.tokens(Arc::clone(&credential)).token(&question()).await.unwrap_err();
        assert_eq!(error, TokenError::Misbound(expected));
    }
}

#[tokio::test]
async fn it_is_asked_about_where_certificates_are_taken() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    let alias = json!({ "introspection_endpoint": format!("{}/introspect", world.sso.issuer()) });
    let elsewhere = json!({"introspection_endpoint": "https://localhost:1/", "mtls_endpoint_aliases": alias});
    world.sso.fail(Fault::Metadata(elsewhere));
    let token = world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap();
    assert!(matches!(token.binding(), Bound::Certificate(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn an_opaque_token_that_nobody_speaks_of_is_used_with_a_warning() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    for (fault, cause) in [
        (Fault::Metadata(json!({"introspection_endpoint": null})), "names no introspection_endpoint"),
        (Fault::Metadata(json!({"introspection_endpoint": "https://localhost:1/"})), "cannot be reached"),
        (Fault::NoIntrospection, "answers 401"),
        (Fault::Answer(json!({"access_token": "another-one"})), "inactive when this client asks"),
    ] {
        world.sso.recover();
        world.sso.fail(fault);
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt().with_writer(written.clone()).with_ansi(false).finish();
        let _here = tracing::subscriber::set_default(subscriber);
        let token = world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap();
        assert_eq!(token.binding(), Bound::Unknown);
        let said = written.text();
        assert!(said.contains("it is used unexamined") && said.contains(cause), "{cause}: {said}");
        assert!(!said.contains(token.expose()));
    }
}

#[tokio::test]
async fn an_rsa_key_signs_as_the_issuer_takes_it() {
    let world = World::new().await;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(der.as_ref());
    let key = Arc::new(SigningKey::new(&der.into()).unwrap());
    world.sso.register("by-rsa", Client::of_key(key.public_jwk()).with_scopes(&["ledger.read"]));
    for (algorithms, signed_with) in [
        (json!(["RS256"]), "RS256"),
        (json!(["PS256"]), "PS256"),
        (json!(["RS256", "ES256", "PS256"]), "PS256"),
        (serde_json::Value::Null, "RS256"),
    ] {
        world.sso.recover();
        world.sso.fail(Fault::Metadata(json!({"token_endpoint_auth_signing_alg_values_supported": algorithms})));
        let mut registration = world.registration();
        registration.client = "by-rsa".to_owned();
        registration.authentication = ClientAuthentication::PrivateKeyJwt { key: Some(Arc::clone(&key)), id: None };
        world.tokens_as(registration, world.ca.agent("billing-bot")).token(&question()).await.unwrap();
        assert_eq!(world.sso.asserted_with().as_deref(), Some(signed_with), "{algorithms}");
    }
}

#[tokio::test]
async fn every_way_to_prove_who_asks() {
    let world = World::new().await;
    let key = Arc::new(SigningKey::generate().unwrap());
    let scopes = ["ledger.read"];
    world.sso.register("by-key", Client::of_key(key.public_jwk()).with_scopes(&scopes));
    world.sso.register("by-secret", Client::of_secret("pass-word").with_scopes(&scopes));
    let credential = world.ca.agent("billing-bot");
    let own = SigningKey::new(credential.key()).unwrap();
    world.sso.register("by-own-key", Client::of_key(own.public_jwk()).with_scopes(&scopes));
    let secret = |text: &str| ClientAuthentication::Secret(Arc::new(Secret::new(text.to_owned())));
    for (client, authentication, good) in [
        ("by-key", ClientAuthentication::PrivateKeyJwt { key: Some(Arc::clone(&key)), id: Some("k".to_owned()) }, true),
        ("by-own-key", ClientAuthentication::PrivateKeyJwt { key: None, id: None }, true),
        ("by-key", ClientAuthentication::PrivateKeyJwt { key: None, id: None }, false),
        ("by-secret", secret("pass-word"), true),
        ("by-secret", secret("wrong"), false),
        ("agent-a", ClientAuthentication::Certificate, true),
        ("nobody", ClientAuthentication::Certificate, false),
    ] {
        let mut registration = world.registration();
        registration.client = client.to_owned();
        registration.authentication = authentication;
        let answer = world.tokens_as(registration, Arc::clone(&credential)).token(&question()).await;
        match answer {
            Ok(token) => assert!(good && matches!(token.binding(), Bound::Certificate(_)), "{client}"),
            Err(TokenError::Refused { code, .. }) => assert!(!good && code == "invalid_client", "{client}: {code}"),
            Err(other) => panic!("{client}: {other}"),
        }
    }
    let stranger = world.tokens(world.ca.agent("intern-bot")).token(&question()).await.unwrap_err();
    assert!(stranger.to_string().contains("compare the client's id and its registered certificate"), "{stranger}");
}

#[tokio::test]
async fn what_is_not_this_clients_is_refused_by_name() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let error = tokens.token(&Question::of(RESOURCE).with_scopes(["root"])).await.unwrap_err();
    assert!(matches!(&error, TokenError::Refused { code, .. } if code == "invalid_scope"), "{error}");
    world.sso.disable("agent-a");
    let error = tokens.token(&question()).await.unwrap_err();
    assert!(matches!(&error, TokenError::Refused { code, .. } if code == "invalid_client"), "{error}");
}

#[tokio::test]
async fn tokens_end_when_they_are_revoked() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    let first = tokens.token(&question()).await.unwrap();
    tokens.revoke_all().await.unwrap();
    let second = tokens.token(&question()).await.unwrap();
    assert_ne!(first.expose(), second.expose());
}

#[tokio::test]
async fn an_exchange_names_subject_and_actor() {
    use countermark_oauth::UnverifiedToken;
    let world = World::new().await;
    world.sso.register(
        "relay",
        Client::of_certificate("spiffe://agents.internal/agent/relay").with_scopes(&["ledger.read"]),
    );
    let first = world.tokens(world.ca.agent("billing-bot")).token(&question()).await.unwrap();
    let mut registration = world.registration();
    registration.client = "relay".to_owned();
    let credential = world.ca.agent("relay");
    let relay = world.tokens_as(registration, Arc::clone(&credential));
    let subject = UnverifiedToken::parse(first.expose()).unwrap();
    let exchanged = relay.exchange(&subject, &question()).await.unwrap();
    assert_eq!(exchanged.binding(), Bound::Certificate(*credential.leaf().thumbprint()));
    let claims = exchanged.unverified_claims().unwrap();
    assert_eq!((claims["sub"].as_str(), claims["act"]["sub"].as_str()), (Some("agent-a"), Some("relay")));
    let again = relay.exchange(&subject, &question()).await.unwrap();
    assert!(Arc::ptr_eq(&exchanged, &again), "one exchange for one subject and one question");
}

#[tokio::test]
async fn who_gives_up_has_asked_for_those_who_wait() {
    let world = World::new().await;
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    tokens.metadata().await.unwrap();
    world.sso.fail(Fault::Slow(Duration::from_millis(500)));
    for _ in 0..5 {
        let gave_up = tokio::time::timeout(Duration::from_millis(50), tokens.token(&question())).await;
        assert!(gave_up.is_err());
    }
    assert!(tokens.token(&question()).await.is_ok());
    assert_eq!(world.sso.token_requests(), 1);
}
