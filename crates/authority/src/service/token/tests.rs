//! Tokens, each wrong in one way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_oauth::JwsFault;
use futures_util::FutureExt as _;
use serde_json::json;

use super::*;

const NOW: UnixTime = crate::tests::START;

/// An issuer of tokens with a key of its own.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let point = self.key.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "alg": "ES256",
            "x": text(&point[1..33]), "y": text(&point[33..65])})
    }

    /// Writes the issuer's keys and an `enrol.toml` with `rules`.
    pub(crate) fn write(&self, directory: &Path, rules: &str) -> PathBuf {
        self.write_keys(directory, &json!({"keys": [self.jwk("one")]}), rules)
    }

    fn write_keys(&self, directory: &Path, keys: &Value, rules: &str) -> PathBuf {
        std::fs::write(directory.join("jwks.json"), keys.to_string()).unwrap();
        let path = directory.join("enrol.toml");
        let text = format!(
            "version = 1\n[[jwt_issuer]]\nissuer = \"https://kubernetes.default.svc\"\n\
             audience = \"countermark\"\njwks = \"jwks.json\"\n{rules}"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": "one"}), &claims.to_string())
    }

    pub(crate) fn token_with(&self, header: &Value, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(&header.to_string()), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The claims that the API server writes for an account.
pub(crate) fn account(namespace: &str, name: &str) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc", "aud": ["countermark"], "exp": NOW.as_secs() + 3600,
        "iat": NOW.as_secs(), "nbf": NOW.as_secs(), "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "1"},
            "pod": {"name": "bot-1", "uid": "2"}},
    })
}

const RULES: &str = "[[jwt_issuer.rule]]\nidentity = \"agent/crm-bot\"\n\
    kubernetes = { namespace = \"crm\", service_account = \"bot\" }\n\
    [[jwt_issuer.rule]]\nidentity = \"server/deployer\"\nclaims = { sub = \"ci\", branch = \"main\" }\n";

fn read(directory: &Path, rules: &str) -> Result<Enrolment, EnrolmentError> {
    let issuer = Issuer::new();
    read_at(&issuer.write(directory, rules))
}

fn read_at(path: &Path) -> Result<Enrolment, EnrolmentError> {
    let clock: Arc<dyn Clock> = Arc::new(countermark_testkit::MockClock::at(NOW));
    Enrolment::read(path, &"agents.internal".parse().unwrap(), &Enrolment::nobody(), &clock)
}

struct Desk {
    issuer: Issuer,
    enrolment: Enrolment,
}

impl Desk {
    fn new() -> Self {
        let (issuer, directory) = (Issuer::new(), tempfile::tempdir().unwrap());
        let path = issuer.write(directory.path(), RULES);
        let enrolment = read_at(&path).unwrap();
        Self { issuer, enrolment }
    }

    fn grant(&self, claims: &Value) -> Result<String, TokenError> {
        self.read(&self.issuer.token(claims))
    }

    fn read(&self, token: &str) -> Result<String, TokenError> {
        granted(&self.enrolment, token)
    }
}

/// Keys in a file ask nobody: what is ready at once is waited for.
fn granted(enrolment: &Enrolment, token: &str) -> Result<String, TokenError> {
    let clock = countermark_testkit::MockClock::at(NOW);
    let grant = enrolment.grant(token, &clock).now_or_never().unwrap();
    grant.map(|grant| grant.rule.identity.to_string())
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = account("crm", "bot");
    claims[name] = value;
    claims
}

#[test]
fn the_first_rule_that_fits_names_the_identity() {
    let desk = Desk::new();
    assert_eq!(desk.grant(&account("crm", "bot")).unwrap(), "spiffe://agents.internal/agent/crm-bot");
    let ci = json!({"iss": "https://kubernetes.default.svc", "aud": "countermark", "exp": NOW.as_secs() + 1,
        "sub": "ci", "branch": "main"});
    assert_eq!(desk.grant(&ci).unwrap(), "spiffe://agents.internal/server/deployer");
    let mut branch = ci;
    branch["branch"] = json!("feature");
    assert!(matches!(desk.grant(&branch), Err(TokenError::NoRule { .. })));
}

#[test]
fn an_account_must_stand_in_both_of_its_places() {
    let desk = Desk::new();
    let mut legacy = account("crm", "bot");
    legacy.as_object_mut().unwrap().remove("kubernetes.io");
    assert!(matches!(desk.grant(&legacy), Err(TokenError::NoRule { .. })), "bound to no pod");
    let mixed = with("sub", json!("system:serviceaccount:crm:other"));
    assert!(matches!(desk.grant(&mixed), Err(TokenError::NoRule { .. })));
}

#[test]
fn claims_that_are_missing_or_of_another_kind_are_refused() {
    let desk = Desk::new();
    for name in ["iss", "aud", "exp", "sub"] {
        let mut claims = account("crm", "bot");
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(desk.grant(&claims), Err(TokenError::Claim { name }), "without {name}");
    }
    for (name, value) in [
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("aud", json!(7)),
        ("iss", json!(["https://kubernetes.default.svc"])),
    ] {
        assert!(matches!(desk.grant(&with(name, value.clone())), Err(TokenError::Claim { .. })), "{name} {value}");
    }
    assert_eq!(desk.grant(&with("aud", json!(["countermark", 7]))), Err(TokenError::Audience));
    assert_eq!(desk.grant(&with("aud", json!("countermark2"))), Err(TokenError::Audience));
    assert_eq!(desk.grant(&with("iss", json!("https://evil"))), Err(TokenError::UnknownIssuer));
}

/// Whoever stole it cannot use it where it belongs, and gets no identity for it here.
#[test]
fn what_is_bound_to_a_key_or_is_for_somebody_else_enrols_nobody() {
    let desk = Desk::new();
    for cnf in [json!({"x5t#S256": "A".repeat(43)}), json!({"jkt": "A".repeat(43)}), json!({}), Value::Null] {
        assert_eq!(desk.grant(&with("cnf", cnf.clone())), Err(TokenError::Bound), "{cnf}");
    }
    for name in ["at_hash", "c_hash", "s_hash", "events"] {
        assert_eq!(desk.grant(&with(name, json!("x"))), Err(TokenError::Type), "{name}");
    }
}

#[test]
fn the_clock_is_ours() {
    let desk = Desk::new();
    assert!(matches!(desk.grant(&with("exp", json!(NOW.as_secs()))), Err(TokenError::Expired { .. })));
    assert!(desk.grant(&with("exp", json!(NOW.as_secs() as f64 + 1.5))).is_ok());
    for name in ["nbf", "iat"] {
        assert!(desk.grant(&with(name, json!(NOW.as_secs() + 60))).is_ok());
        assert!(matches!(desk.grant(&with(name, json!(NOW.as_secs() + 61))), Err(TokenError::NotYet { .. })));
    }
}

#[test]
fn headers_choose_neither_algorithm_nor_key() {
    let desk = Desk::new();
    let claims = account("crm", "bot").to_string();
    let read = |header: Value| desk.read(&desk.issuer.token_with(&header, &claims));
    assert!(read(json!({"alg": "ES256"})).is_ok(), "one key fits");
    assert!(read(json!({"alg": "ES256", "kid": "one", "typ": "jwt"})).is_ok());
    for alg in ["none", "HS256", "es256", ""] {
        assert_eq!(read(json!({"alg": alg, "kid": "one"})), Err(JwsFault::Algorithm.into()), "{alg}");
    }
    for alg in ["RS256", "ES384"] {
        assert_eq!(read(json!({"alg": alg, "kid": "one"})), Err(JwsFault::NoKey.into()), "{alg}");
    }
    assert_eq!(read(json!({"alg": "ES256", "kid": "two"})), Err(JwsFault::NoKey.into()));
    for header in [
        json!({"alg": "ES256", "kid": "one", "crit": ["x"]}),
        json!({"alg": "ES256", "kid": "one", "b64": false}),
        json!({"alg": "ES256", "kid": "one", "typ": "dpop+jwt"}),
        json!({"alg": "ES256", "kid": "one", "jwk": desk.issuer.jwk("one")}),
        json!({"kid": "one"}),
    ] {
        assert_eq!(read(header.clone()).unwrap_err().code(), "token_malformed", "{header}");
    }
}

#[test]
fn what_was_changed_or_signed_by_another_is_refused() {
    let desk = Desk::new();
    assert_eq!(desk.read(&Issuer::new().token(&account("crm", "bot"))), Err(JwsFault::Signature.into()));
    let token = desk.issuer.token(&account("hr", "bot"));
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = desk.issuer.token(&account("crm", "bot"));
    parts[1] = other.split('.').nth(1).unwrap();
    assert_eq!(desk.read(&parts.join(".")), Err(JwsFault::Signature.into()));
    for malformed in ["", "a.b", "a.b.c.d", " a.b.c", "a.b.c="] {
        assert!(matches!(desk.read(malformed), Err(TokenError::Jws(JwsFault::Form(_)))), "{malformed}");
    }
    let long = format!("{}.b.c", "a".repeat(17 * 1024));
    assert_eq!(desk.read(&long), Err(TokenError::Long));
    let twice = account("crm", "bot").to_string().replacen('{', "{\"sub\":\"system:serviceaccount:hr:bot\",", 1);
    let token = desk.issuer.token_with(&json!({"alg": "ES256"}), &twice);
    assert!(matches!(desk.read(&token), Err(TokenError::Jws(JwsFault::Form(_)))), "a claim that stands twice");
}

#[test]
fn keys_for_other_purposes_are_passed_over_and_two_of_one_id_refused() {
    let (issuer, other, directory) = (Issuer::new(), Issuer::new(), tempfile::tempdir().unwrap());
    let read = |keys: Value| read_at(&issuer.write_keys(directory.path(), &keys, RULES));
    let changed = |name: &str, value: Value| {
        let mut key = issuer.jwk("one");
        key[name] = value;
        key
    };
    for unusable in [
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("ES384")),
        changed("crv", json!("P-521")),
        changed("x", json!("AA")),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "one"}),
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"}),
    ] {
        let refused = read(json!({"keys": [unusable]})).unwrap_err();
        assert!(refused.to_string().contains("no key"), "{refused}");
    }
    let twice = read(json!({"keys": [issuer.jwk("one"), other.jwk("one")]})).unwrap_err();
    assert!(twice.to_string().contains("two of its keys"), "{twice}");
    let ambiguous = read(json!({"keys": [issuer.jwk("one"), other.jwk("two")]})).unwrap();
    let token = issuer.token_with(&json!({"alg": "ES256"}), &account("crm", "bot").to_string());
    assert_eq!(granted(&ambiguous, &token), Err(JwsFault::NoKey.into()));
    assert!(granted(&ambiguous, &issuer.token(&account("crm", "bot"))).is_ok());
}

#[test]
fn a_file_is_refused_as_a_whole_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    for (rules, said) in [
        ("[[jwt_issuer.rule]]\nidentity = \"agent/a\"\n", "enrol everybody"),
        ("[[jwt_issuer.rule]]\nidentity = \"admin/a\"\nclaims = { sub = \"a\" }\n", "directory alone"),
        ("[[jwt_issuer.rule]]\nidentity = \"a\"\nclaims = { sub = \"a\" }\n", "no role"),
        ("[[jwt_issuer.rule]]\nidentity = \"agent/a b\"\nclaims = { sub = \"a\" }\n", "agent/a b"),
        ("[[jwt_issuer.rule]]\nidentity = \"agent/a\"\nclaim = { sub = \"a\" }\n", "claim"),
        ("", "rule"),
    ] {
        let error = read(directory.path(), rules).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("enrol.toml:"), "{error}");
    }
    let path = directory.path().join("enrol.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    for (jwks, said) in [
        ("\"http://kubernetes/jwks\"\njwks_ca = \"ca.crt\"", "not https://"),
        ("\"https://u:p@kubernetes/jwks\"\njwks_ca = \"ca.crt\"", "not https://"),
        ("\"https://kubernetes/jwks\"", "jwks_ca"),
        ("\"jwks.json\"\njwks_ca = \"ca.crt\"", "a jwks that is a URL"),
        ("\"jwks.json\"\njwks_bearer = \"token\"", "a jwks that is a URL"),
    ] {
        std::fs::write(&path, written.replace("\"jwks.json\"", jwks) + RULES).unwrap();
        let error = read_at(&path).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("enrol.toml:2:") && !error.contains("u:p"), "{error}");
    }
}
