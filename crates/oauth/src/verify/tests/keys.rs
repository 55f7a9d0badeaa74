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
    tokio::time::advance(Duration::from_secs(31)).await;
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
    assert_eq!(world.keys.asked(), 1, "within the cooldown");
    tokio::time::advance(Duration::from_secs(31)).await;
    for number in 0..100 {
        let _ = world.refused(&world.token(&json!({"kid": format!("more-{number}")}), &json!({}))).await;
    }
    assert_eq!(world.keys.asked(), 2, "once more after it");
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_while_the_issuer_is_down_or_talks_nonsense() {
    let world = World::new();
    assert!(world.verify(&world.token(&json!({}), &json!({}))).await.is_ok());
    for broken in [
        Err(KeyError::File("gone".to_owned())),
        Ok(json!({"keys": []})),
        Ok(json!({"keys": [{"kty": "oct", "k": "AAAA"}]})),
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
