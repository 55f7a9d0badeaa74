//! One wrong thing at a time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::bearer::BearerFault;

#[tokio::test]
async fn headers() {
    let world = World::new();
    let no_key = TokenRefusal::Jws(JwsFault::NoKey);
    for (header, refusal) in [
        (json!({"crit": ["exp"]}), TokenRefusal::Jws(JwsFault::Extension("crit"))),
        (json!({"crit": []}), TokenRefusal::Jws(JwsFault::Extension("crit"))),
        (json!({"b64": false}), TokenRefusal::Jws(JwsFault::Extension("b64"))),
        (json!({"zip": "DEF"}), TokenRefusal::Jws(JwsFault::Extension("zip"))),
        (json!({"enc": "A128GCM"}), TokenRefusal::Jws(JwsFault::Extension("enc"))),
        (json!({"cty": "JWT"}), TokenRefusal::Jws(JwsFault::Extension("cty"))),
        (json!({"jwk": world.key.public_jwk()}), TokenRefusal::Jws(JwsFault::OwnKey("jwk"))),
        (json!({"jku": "https://evil.test"}), TokenRefusal::Jws(JwsFault::OwnKey("jku"))),
        (json!({"x5c": ["AAAA"]}), TokenRefusal::Jws(JwsFault::OwnKey("x5c"))),
        (json!({"x5u": "https://evil.test"}), TokenRefusal::Jws(JwsFault::OwnKey("x5u"))),
        (json!({"kid": "two"}), no_key.clone()),
        (json!({"kid": "../../etc/passwd"}), no_key.clone()),
        (json!({"kid": "one' OR '1'='1"}), no_key.clone()),
        (json!({"kid": "one\u{0}"}), no_key),
        (json!({"kid": 1}), TokenRefusal::Jws(JwsFault::Header("kid"))),
        (json!({"kid": "x".repeat(10_240)}), TokenRefusal::Jws(JwsFault::Header("kid"))),
        (json!({"typ": null}), TokenRefusal::Type),
        (json!({"typ": 1}), TokenRefusal::Jws(JwsFault::Header("typ"))),
    ] {
        assert_eq!(world.refused(&world.token(&header, &json!({}))).await, refusal, "{header}");
    }
    for typ in ["JWT", "dpop+jwt", "logout+jwt", "secevent+jwt", "txntoken+jwt", "oauth-id-jag+jwt", "wit+jwt", ""] {
        assert_eq!(world.refused(&world.token(&json!({ "typ": typ }), &json!({}))).await, TokenRefusal::Type, "{typ}");
    }
}

#[tokio::test]
async fn algorithms() {
    let world = World::new();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = part(&world.claims());
    for alg in [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(["ES256"]),
        json!("HS256"),
        json!("HS512"),
        json!("ES512"),
        json!("ES256K"),
        json!("es256"),
        json!("ML-DSA-44"),
        json!("RSA-OAEP"),
    ] {
        let mut header = json!({"alg": alg, "kid": "one", "typ": "at+jwt"});
        if alg.is_null() {
            header = json!({"kid": "one", "typ": "at+jwt"});
        }
        let token = format!("{}.{claims}.AAAA", part(&header));
        assert_eq!(world.refused(&token).await, TokenRefusal::Jws(JwsFault::Algorithm), "{alg}");
    }
    // Algorithms that are spoken, and that the key is not of.
    for alg in ["RS256", "PS256", "ES384", "EdDSA"] {
        let token = format!("{}.{claims}.AAAA", part(&json!({"alg": alg, "kid": "one", "typ": "at+jwt"})));
        assert_eq!(world.refused(&token).await, TokenRefusal::Jws(JwsFault::NoKey), "{alg}");
    }
}

#[tokio::test]
async fn signatures() {
    let world = World::new();
    let token = world.token(&json!({}), &json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = {
        let integer = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
        let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
        [&[0x30, u8::try_from(both.len()).unwrap()][..], &both].concat()
    };
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    for (what, wrong) in [
        ("empty r and s", vec![0; 64]),
        ("r = 0", [&[0; 32][..], &raw[32..]].concat()),
        ("s = 0", [&raw[..32], &[0; 32]].concat()),
        ("r = n", [&order[..], &raw[32..]].concat()),
        ("s = n", [&raw[..32], &order[..]].concat()),
        ("DER", der),
        ("cut off", raw[..63].to_vec()),
        ("too long", [&raw[..], &[0]].concat()),
        ("another's", SigningKey::generate().unwrap().sign(json!({}), &json!({})).unwrap().into_bytes()),
    ] {
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(wrong));
        assert_eq!(world.refused(&forged).await, TokenRefusal::Jws(JwsFault::Signature), "{what}");
    }
    let (header, _) = signed.split_once('.').unwrap();
    let mut other = world.claims();
    other["scope"] = "everything".into();
    let exchanged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.to_string()));
    assert_eq!(world.refused(&exchanged).await, TokenRefusal::Jws(JwsFault::Signature));
}

#[tokio::test]
async fn encodings() {
    let world = World::new();
    let token = world.token(&json!({}), &json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!() };
    let form = |refusal: &TokenRefusal| matches!(refusal, TokenRefusal::Jws(JwsFault::Form(_)));
    for wrong in [
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}.{claims}.{signature}.x.y"),
        format!("{header}.{claims}."),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!("{header}.{}.{signature}", claims.replacen(|c: char| c.is_ascii_digit(), "+", 1)),
        "opaque".to_owned(),
    ] {
        assert!(form(&world.refused(&wrong).await), "{wrong}");
    }
    // A last character with bits to spare: another spelling of the same bytes.
    let spare = format!("{header}.{claims}.{}", spelled_otherwise(signature));
    assert_eq!(world.refused(&spare).await, TokenRefusal::Jws(JwsFault::Signature));
    for json in [
        &b"\xef\xbb\xbf{}"[..],
        b"{\"a\":\"\xff\"}",
        b"[]",
        b"",
        br#"{"iss":"x"} x"#,
        br#"{"exp":1,"exp":2}"#,
        br#"{"cnf":{"x5t#S256":"a","x5t#S256":"b"}}"#,
        "[".repeat(200).as_bytes(),
        br#"{"exp":1e999}"#,
    ] {
        let wrong = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(json));
        assert!(form(&world.refused(&wrong).await), "{}", String::from_utf8_lossy(json));
    }
    let json_form = r#"{"payload":"x","signatures":[]}"#;
    for (wrong, fault) in [
        (format!("{token}\n"), BearerFault::Characters),
        (format!(" {token}"), BearerFault::Characters),
        (json_form.to_owned(), BearerFault::Several),
        (format!("{token}{}", "x".repeat(16 * 1024)), BearerFault::TooLong { limit: 16 * 1024 }),
    ] {
        assert_eq!(world.refused(&wrong).await, TokenRefusal::Bearer(fault), "{wrong}");
    }
}

#[tokio::test]
async fn issuers_and_audiences() {
    let world = World::new();
    for (issuer, refusal) in [
        (json!(null), TokenRefusal::Claim("iss")),
        (json!([ISSUER]), TokenRefusal::Claim("iss")),
        (json!(format!("{ISSUER}/")), TokenRefusal::Issuer),
        (json!("https://SSO.test/realms/mcp"), TokenRefusal::Issuer),
        (json!("https://sso.test/realms/other"), TokenRefusal::Issuer),
    ] {
        assert_eq!(world.refused(&world.token(&json!({}), &json!({ "iss": issuer }))).await, refusal, "{issuer}");
    }
    let audience = TokenRefusal::Audience { wanted: AUDIENCE.to_owned() };
    let many: Vec<String> = (0..300).map(|number| format!("https://{number}.test")).collect();
    for (aud, refusal) in [
        (json!(null), TokenRefusal::Claim("aud")),
        (json!(123), TokenRefusal::Claim("aud")),
        (json!({}), TokenRefusal::Claim("aud")),
        (json!([AUDIENCE, 1]), TokenRefusal::Claim("aud")),
        (json!(many), TokenRefusal::Claim("aud")),
        (json!([]), audience.clone()),
        (json!(["https://other.test"]), audience.clone()),
        (json!("https://ledger.test"), audience.clone()),
        (json!("https://ledger.test/mcp/"), audience.clone()),
        (json!("https://ledger.test/mcp2"), audience.clone()),
        (json!("agent-a"), audience),
    ] {
        assert_eq!(world.refused(&world.token(&json!({}), &json!({ "aud": aud }))).await, refusal, "{aud}");
    }
}

#[tokio::test]
async fn times() {
    let world = World::new();
    let now = world.now();
    let expired = |at| TokenRefusal::Expired { at: UnixTime::from_secs(at) };
    let not_yet = |from| TokenRefusal::NotYet { from: UnixTime::from_secs(from) };
    for (claims, refusal) in [
        (json!({"exp": null}), TokenRefusal::Claim("exp")),
        (json!({"exp": (now + 60).to_string()}), TokenRefusal::Claim("exp")),
        (json!({"exp": 1.5e9}), TokenRefusal::Claim("exp")),
        (json!({"exp": -1}), TokenRefusal::Claim("exp")),
        (json!({"exp": 1e18}), TokenRefusal::Claim("exp")),
        (json!({"exp": u64::MAX}), TokenRefusal::Life),
        (json!({"exp": now + 24 * 3600 + 1}), TokenRefusal::Life),
        (json!({"exp": now}), expired(now)),
        (json!({"exp": now - 1}), expired(now - 1)),
        (json!({"iat": null}), TokenRefusal::Claim("iat")),
        (json!({"iat": "now"}), TokenRefusal::Claim("iat")),
        (json!({"iat": now + 31}), not_yet(now + 31)),
        (json!({"iat": now + 31_536_000, "exp": now + 31_536_060}), not_yet(now + 31_536_000)),
        (json!({"nbf": now + 3600}), not_yet(now + 3600)),
        (json!({"nbf": "soon"}), TokenRefusal::Claim("nbf")),
    ] {
        assert_eq!(world.refused(&world.token(&json!({}), &claims)).await, refusal, "{claims}");
    }
    let skewed = world.token(&json!({}), &json!({"iat": now + 30, "nbf": now + 30}));
    assert!(world.verify(&skewed).await.is_ok(), "an issuer's clock may be a little ahead");
}

#[tokio::test]
async fn names_scopes_and_roles() {
    let world = World::new();
    for (claims, refusal) in [
        (json!({"sub": null}), TokenRefusal::Claim("sub")),
        (json!({"sub": ""}), TokenRefusal::Claim("sub")),
        (json!({"sub": ["x"]}), TokenRefusal::Claim("sub")),
        (json!({"client_id": null, "azp": "agent-a"}), TokenRefusal::Claim("client_id")),
        (json!({"client_id": 1}), TokenRefusal::Claim("client_id")),
        (json!({"scope": ["ledger.read"]}), TokenRefusal::Claim("scope")),
        (json!({"scope": 1}), TokenRefusal::Claim("scope")),
        (json!({"roles": "accountant"}), TokenRefusal::Claim("roles")),
        (json!({"roles": [1]}), TokenRefusal::Claim("roles")),
        (json!({"roles": {"0": "accountant"}}), TokenRefusal::Claim("roles")),
        (json!({"at_hash": "x", "nonce": "y"}), TokenRefusal::Type),
        (json!({"events": {}}), TokenRefusal::Type),
    ] {
        assert_eq!(world.refused(&world.token(&json!({}), &claims)).await, refusal, "{claims}");
    }
    let substring = world.verify(&world.token(&json!({}), &json!({"scope": "tools:readall  x"}))).await.unwrap();
    assert_eq!(substring.scopes(), ["tools:readall".into(), "x".into()], "whole words");
}

#[tokio::test]
async fn bindings() {
    let world = World::new();
    let right = world.presented.to_base64url();
    let readable = |refusal: &TokenRefusal| matches!(refusal, TokenRefusal::Binding(_));
    for wrong in [
        json!({}),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": 1}),
        json!({"jwk": {}}),
        json!({"jkt": right}),
        json!({"kid": "one"}),
        json!({"x5t": right}),
        json!({"x5t#S256": right, "jkt": right}),
        json!({"x5t#S256": world.presented.to_hex()}),
        json!({"x5t#S256": format!("{right}=")}),
        json!({"x5t#S256": format!("{right} ")}),
        json!({"x5t#S256": right.replace('_', "/").replace('-', "+").replacen(|c: char| c.is_ascii_lowercase(), "+", 1)}),
        json!({"x5t#S256": &right[..42]}),
        json!({"x5t#S256": spelled_otherwise(&right)}),
        json!([{"x5t#S256": right}]),
        json!(right),
    ] {
        let refusal = world.refused(&world.token(&json!({}), &json!({"cnf": wrong}))).await;
        assert!(readable(&refusal), "{wrong}: {refusal}");
    }
    let other = json!({"cnf": {"x5t#S256": Thumbprint::of(b"the intermediate").to_base64url()}});
    assert_eq!(world.refused(&world.token(&json!({}), &other)).await, TokenRefusal::Mismatch);
}

/// [RFC 8705 appendix A](https://www.rfc-editor.org/rfc/rfc8705#appendix-A): its certificate and its thumbprint.
#[test]
fn the_thumbprint_of_the_rfc() {
    let pem = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRs\
        czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8w\
        CgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
    assert_eq!(Thumbprint::of(&der).to_base64url(), "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0");
}

/// The same bytes with the bits to spare of the last character set: 43 or 86 characters leave some.
fn spelled_otherwise(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = ALPHABET.find(text.chars().last().unwrap()).unwrap();
    format!("{}{}", &text[..text.len() - 1], ALPHABET.chars().nth(at + 1).unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
