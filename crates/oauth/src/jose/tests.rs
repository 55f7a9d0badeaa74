//! Wycheproof's vectors of JWS and JWK ([C2SP/wycheproof](https://github.com/C2SP/wycheproof)).

use serde_json::{Value, json};
use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};

use super::*;

/// As a token is verified once its issuer's keys are known; Wycheproof's payloads are no JSON, so that they are not looked at.
fn accepts(jws: &str, keys: &Value) -> bool {
    let parts: Vec<&str> = jws.split('.').collect();
    let [head, body, signature] = parts[..] else { return false };
    let Ok(keys) = KeySet::parse(keys.to_string().as_bytes()) else { return false };
    let Ok(head) = decoded(head) else { return false };
    let header = Object::parse(&head, DEPTH).map(|header| Header::read(&header));
    let Some(Ok(header)) = header else { return false };
    if URL_SAFE_NO_PAD.decode(body).is_err() || signature.is_empty() {
        return false;
    }
    let signed = jws.rsplit_once('.').unwrap().0;
    keys.choose(header.algorithm, header.key.as_deref())
        .is_ok_and(|key| key.verifies(header.algorithm, signed, signature))
}

/// Every vector that is wrong is refused. Of those that are right, we refuse what we do not speak.
fn run(name: TestName) -> (usize, usize, usize) {
    let set = TestSet::load(name).unwrap();
    let (mut refused, mut accepted, mut unspoken) = (0, 0, 0);
    for group in set.test_groups {
        let key = group.public_key.clone().or_else(|| group.private_key.clone()).unwrap_or_default();
        let keys = if key.get("keys").is_some() { key } else { json!({ "keys": [key] }) };
        for test in group.tests {
            let Some(Value::String(jws)) = test.jws else { continue };
            match (accepts(&jws, &keys), test.result.must_fail()) {
                (true, true) => panic!("{name:?} {}: {} is accepted", test.tc_id, test.comment),
                (true, false) => accepted += 1,
                (false, true) => refused += 1,
                (false, false) => unspoken += 1,
            }
        }
    }
    (refused, accepted, unspoken)
}

#[test]
fn every_wrong_signature_of_wycheproof_is_refused() {
    let (refused, accepted, unspoken) = run(TestName::JsonWebSignature);
    println!("{refused} refused, {accepted} accepted, {unspoken} of kinds that are not spoken");
    assert!(refused > 300 && accepted > 10, "{refused} {accepted}");
}

#[test]
fn every_wrong_key_of_wycheproof_is_refused() {
    let (refused, accepted, unspoken) = run(TestName::JsonWebKey);
    println!("{refused} refused, {accepted} accepted, {unspoken} of kinds that are not spoken");
    assert!(refused > 5, "{refused}");
}

#[test]
fn what_we_sign_we_verify() {
    let key = SigningKey::generate().unwrap();
    let token = key.sign(json!({"kid": "one"}), &json!({"a": 1})).unwrap();
    let mut jwk = key.public_jwk();
    jwk["kid"] = "one".into();
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let token = Parts::of(&token).unwrap();
    let token = token.read().unwrap();
    assert_eq!(token.verify(&keys), Ok(()));
    assert_eq!(token.claims.get("a").and_then(json::Value::as_u64), Some(1));
    assert_eq!(format!("{key:?}"), "SigningKey(ES256)");
}

/// [RFC 7638 §3.1](https://www.rfc-editor.org/rfc/rfc7638#section-3.1) speaks of RSA; of P-256, RFC 9449 §6.1 does.
#[test]
fn a_keys_thumbprint_is_over_its_required_members() {
    let key = SigningKey::generate().unwrap();
    let jwk = key.public_jwk();
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    assert_eq!(key.thumbprint(), URL_SAFE_NO_PAD.encode(hash));
}
