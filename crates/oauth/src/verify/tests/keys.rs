//! An issuer's keys, as they come and go.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_by_the_first_token_that_names_it() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    let next = SigningKey::generate().unwrap();
    world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one"), jwk(&next, "two")]})));
    tokio::time::advance(Duration::from_secs(31)).await;
    let token = next.sign(json!({"kid": "two", "typ": "at+jwt"}), &world.claims()).unwrap();
    assert!(world.verify(&token).await.is_ok());
    assert_eq!(world.keys.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_key_under_the_same_id_counts_at_once_and_the_old_one_no_more() {
    let world = World::new();
    let old = world.token(&json!({}), &json!({}));
    assert!(world.verify(&old).await.is_ok());
    let next = SigningKey::generate().unwrap();
    world.keys.set(Ok(&json!({"keys": [jwk(&next, "one")]})));
    let token = next.sign(json!({"kid": "one", "typ": "at+jwt"}), &world.claims()).unwrap();
    assert!(world.verify(&token).await.is_ok());
    assert_eq!(world.refused(&old).await, TokenRefusal::Jws(JwsFault::Signature), "also where it was verified before");
}

#[tokio::test(start_paused = true)]
async fn invented_key_ids_ask_the_issuer_nothing() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    for number in 0..100 {
        let token = world.token(&json!({"kid": format!("invented-{number}")}), &json!({}));
        assert_eq!(world.refused(&token).await, TokenRefusal::Jws(JwsFault::NoKey));
    }
    let asked = world.keys.asked();
    assert_eq!(asked, 4, "for the first token, and three times more");
    for pause in [9, 2, 11] {
        tokio::time::advance(Duration::from_secs(pause)).await;
        for number in 0..10 {
            let token = world.token(&json!({"kid": format!("more-{number}")}), &json!({}));
            assert_eq!(world.refused(&token).await, TokenRefusal::Jws(JwsFault::NoKey), "after {pause} s");
        }
    }
    assert_eq!(world.keys.asked(), asked + 2, "one for each cooldown");
    world.keys.set(Err(KeyError::File("gone".to_owned())));
    tokio::time::advance(Duration::from_secs(11)).await;
    for _ in 0..10 {
        let token = world.token(&json!({"kid": "other"}), &json!({}));
        assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"), "it may be there since");
    }
    assert_eq!(world.keys.asked(), asked + 3);
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_while_the_issuer_is_down_or_talks_nonsense() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    for broken in [
        Err(KeyError::File("gone".to_owned())),
        Ok(json!({"keys": [jwk(&world.key, "one"), jwk(&world.key, "one")]})),
        Ok(json!("<html>")),
    ] {
        world.keys.set(broken.as_ref().map_err(Clone::clone));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(world.verifier.issuers[0].keys.refresh().await.is_err());
        let fresh = world.token(&json!({}), &json!({"jti": format!("{broken:?}")}));
        assert!(world.verify(&fresh).await.is_ok(), "{broken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_publishes_no_usable_key_has_withdrawn_those_that_it_had() {
    for none in [json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "AAAA"}]})] {
        let world = World::new();
        let token = world.token(&json!({}), &json!({}));
        assert!(world.verify(&token).await.is_ok());
        world.keys.set(Ok(&none));
        assert!(world.verifier.issuers[0].keys.refresh().await.is_ok(), "{none}");
        assert_eq!(world.refused(&token).await, TokenRefusal::Jws(JwsFault::NoKey), "{none}");
        assert!(world.verifier.is_ready(), "it has answered");
        world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one")]})));
        assert!(world.verify(&token).await.is_ok(), "{none}: and publishes one again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_not_be_asked_for_is_not_said_to_be_missing() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    tokio::time::advance(Duration::from_secs(60)).await;
    world.keys.set(Err(KeyError::File("down".to_owned())));
    let next = SigningKey::generate().unwrap();
    let sign = |header| next.sign(header, &world.claims()).unwrap();
    let token = sign(json!({"kid": "two", "typ": "at+jwt"}));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
    let forged = sign(json!({"kid": "one", "typ": "at+jwt"}));
    assert_eq!(world.refused(&forged).await, TokenRefusal::Jws(JwsFault::Signature), "the key is there");
    world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one"), jwk(&next, "two")]})));
    assert!(world.verify(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn while_an_issuer_hangs_all_tokens_wait_for_one_answer_and_not_for_ever() {
    let world = World::new();
    world.keys.take(Duration::from_secs(20));
    let begun = tokio::time::Instant::now();
    let tokens: Vec<String> = (0..50).map(|id| world.token(&json!({}), &json!({ "jti": id.to_string() }))).collect();
    let all = futures_util::future::join_all(tokens.iter().map(|token| world.refused(token))).await;
    assert!(all.iter().all(|refusal| *refusal == TokenRefusal::Unavailable("keys")), "{all:?}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(world.keys.asked(), 1);
    // For three minutes one a second: each is answered in time, and one question follows another.
    for token in tokens.iter().cycle().take(180) {
        let asked = tokio::time::Instant::now();
        let _waited = world.verify(token).await;
        assert!(asked.elapsed() < Duration::from_secs(6));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let per_question = begun.elapsed().as_secs() / world.keys.asked() as u64;
    assert!(per_question >= 20, "a question each {per_question} s");
}

#[tokio::test(start_paused = true)]
async fn a_pause_begins_with_the_end_of_a_question() {
    let world = World::new();
    world.keys.set(Err(KeyError::File("down".to_owned())));
    world.keys.take(Duration::from_secs(3));
    let token = world.token(&json!({}), &json!({}));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
    assert_eq!(world.keys.asked(), 1, "it ended just now");
    // A good one ends the time of which nothing is counted: afterwards there are as many questions as ever.
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(2)).await;
        world.refused(&token).await;
    }
    world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one")]})));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(world.verify(&token).await.is_ok());
    let next = SigningKey::generate().unwrap();
    world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one"), jwk(&next, "two")]})));
    let token = next.sign(json!({"kid": "two", "typ": "at+jwt"}), &world.claims()).unwrap();
    assert!(world.verify(&token).await.is_ok(), "also at once");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_given_up_and_asked_again() {
    let world = World::new();
    world.keys.take(Duration::from_secs(365 * 86_400));
    let token = world.token(&json!({}), &json!({}));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
    world.keys.take(Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert!(world.verify(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_keys_nothing_is_known_against_a_token_and_nothing_passes() {
    let world = World::new();
    world.keys.set(Err(KeyError::File("down".to_owned())));
    let token = world.token(&json!({}), &json!({}));
    let refusal = world.refused(&token).await;
    assert_eq!(refusal, TokenRefusal::Unavailable("keys"));
    assert!(refusal.is_unavailable() && !world.verifier.is_ready());
    world.keys.set(Ok(&json!({"keys": [jwk(&world.key, "one")]})));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(world.verify(&token).await.is_ok());
    assert!(world.verifier.is_ready());
}

#[test]
fn only_keys_that_verify_signatures_are_taken() {
    use crate::jose::KeySet;
    let key = SigningKey::generate().unwrap();
    let with = |other: Value| {
        let mut jwk = jwk(&key, "one");
        overlay(&mut jwk, &other);
        KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).map(drop)
    };
    assert_eq!(with(json!({})), Ok(()));
    assert_eq!(with(json!({"key_ops": ["verify"], "use": null, "alg": null, "kid": null})), Ok(()));
    for wrong in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES384"}),
        json!({"crv": "P-384"}),
        json!({"crv": "P-521"}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"x": "AAAA"}),
        json!({"y": null}),
        json!({"kid": 1}),
    ] {
        assert_eq!(with(wrong.clone()), Err(KeySetError::NoneUsable), "{wrong}");
    }
    let many: Vec<Value> = (0..65).map(|number| jwk(&key, &number.to_string())).collect();
    assert_eq!(
        KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).map(drop),
        Err(KeySetError::TooMany { limit: 64 })
    );
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_in_the_middle_has_asked_all_the_same() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    for number in 0..50 {
        let token = world.token(&json!({"kid": format!("invented-{number}")}), &json!({}));
        let verifying = world.verify(&token);
        tokio::select! {
            biased;
            _ = verifying => {}
            () = tokio::task::yield_now() => {}
        }
    }
    tokio::task::yield_now().await;
    assert!(world.keys.asked() <= 4, "{}", world.keys.asked());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_not_seen_for_a_day_count_no_more() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    world.keys.set(Err(KeyError::File("blocked".to_owned())));
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    let token = world.token(&json!({}), &json!({"jti": "later"}));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
}

#[tokio::test(start_paused = true)]
async fn a_day_in_which_the_machine_sleeps_is_one() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    world.keys.set(Err(KeyError::File("blocked".to_owned())));
    world.clock.advance(Duration::from_secs(23 * 3600));
    assert!(world.verify(&world.token(&json!({}), &json!({"jti": "sooner"}))).await.is_ok());
    world.clock.advance(Duration::from_secs(3600));
    let token = world.token(&json!({}), &json!({"jti": "later"}));
    assert_eq!(world.refused(&token).await, TokenRefusal::Unavailable("keys"));
}
