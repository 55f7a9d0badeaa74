//! Tokens, each wrong in one way, with the reason for which each is refused.

mod keys;
mod table;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countermark_identity::{AgentId, UnixTime};
use countermark_testkit::MockClock;
use serde_json::{Map, Value, json};

use super::*;
use crate::jose::{KeySetError, SigningKey};

const ISSUER: &str = "https://sso.test/realms/mcp";
const AUDIENCE: &str = "https://ledger.test/mcp";

/// Keys that a test changes, and that count how often they are asked for.
#[derive(Clone, Debug)]
struct TestKeys(Arc<Published>);

#[derive(Debug)]
struct Published {
    answer: Mutex<Result<Bytes, KeyError>>,
    asked: AtomicUsize,
    /// How long an answer takes.
    takes: Mutex<Duration>,
}

impl TestKeys {
    fn new(keys: &Value) -> Self {
        let answer = Mutex::new(Ok(Bytes::from(keys.to_string())));
        Self(Arc::new(Published { answer, asked: AtomicUsize::new(0), takes: Mutex::default() }))
    }

    fn set(&self, keys: Result<&Value, KeyError>) {
        *self.0.answer.lock().unwrap() = keys.map(|keys| Bytes::from(keys.to_string()));
    }

    fn take(&self, time: Duration) {
        *self.0.takes.lock().unwrap() = time;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for TestKeys {
    fn fetch(&self) -> FetchedKeys<'_> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let (answer, takes) = (self.0.answer.lock().unwrap().clone(), *self.0.takes.lock().unwrap());
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            answer
        })
    }
}

/// An issuer, a verifier that knows it, and the caller.
struct World {
    key: SigningKey,
    keys: TestKeys,
    clock: MockClock,
    verifier: TokenVerifier,
    presented: Thumbprint,
    agent: AgentId,
}

impl World {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut IssuerRules)) -> Self {
        let (key, clock) = (SigningKey::generate().unwrap(), MockClock::new());
        let keys = TestKeys::new(&json!({"keys": [jwk(&key, "one")]}));
        let agent = AgentId::new(&"agents.internal".parse().unwrap(), "billing-bot").unwrap();
        let mut rules = IssuerRules::new(ISSUER, AUDIENCE);
        rules.clients = HashMap::from([("agent-a".to_owned(), vec![agent.clone()])]);
        change(&mut rules);
        let verifier = TokenVerifier::new(Arc::new(clock.clone())).with_issuer(rules, Box::new(keys.clone()), None);
        Self { key, keys, clock, verifier, presented: Thumbprint::of(b"a certificate"), agent }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "service-account-agent-a", "client_id": "agent-a", "aud": AUDIENCE, "jti": "1",
            "iat": self.now(), "exp": self.now() + 300, "scope": "ledger.read ledger.write", "roles": ["accountant"],
            "cnf": {"x5t#S256": self.presented.to_base64url()},
        })
    }

    /// A token with these members in place of the right ones; `null` takes one away.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let (mut whole, mut said) = (json!({"kid": "one", "typ": "at+jwt"}), self.claims());
        overlay(&mut whole, header);
        overlay(&mut said, claims);
        self.key.sign(whole, &said).unwrap()
    }

    async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        let token = UnverifiedToken::parse(token)?;
        self.verifier.verify_for(&token, self.presented, &self.agent).await
    }

    async fn refused(&self, token: &str) -> TokenRefusal {
        self.verify(token).await.unwrap_err()
    }
}

fn jwk(key: &SigningKey, id: &str) -> Value {
    let mut jwk = key.public_jwk();
    overlay(&mut jwk, &json!({"kid": id, "use": "sig", "alg": "ES256"}));
    jwk
}

fn overlay(value: &mut Value, other: &Value) {
    let members: &mut Map<String, Value> = value.as_object_mut().unwrap();
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
}

#[tokio::test]
async fn a_good_token_says_who_and_what() {
    let world = World::new();
    let verified = world.verify(&world.token(&json!({}), &json!({}))).await.unwrap();
    assert_eq!((verified.issuer(), verified.client()), (ISSUER, "agent-a"));
    assert_eq!(verified.subject(), "service-account-agent-a");
    assert_eq!(verified.scopes(), ["ledger.read".into(), "ledger.write".into()]);
    assert_eq!(verified.roles(), ["accountant".into()]);
    assert_eq!(verified.not_after(), UnixTime::from_secs(world.now() + 300));
    assert!(verified.actors().is_empty());
    assert!(!format!("{verified:?}").contains("service-account"));
}

#[tokio::test]
async fn types_and_audiences_in_every_right_spelling() {
    let world = World::new();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(world.verify(&world.token(&json!({ "typ": typ }), &json!({}))).await.is_ok(), "{typ}");
    }
    let several = world.token(&json!({}), &json!({"aud": ["https://other.test", AUDIENCE]}));
    assert!(world.verify(&several).await.is_ok());
}

#[tokio::test]
async fn keycloak_in_its_older_form() {
    let world = World::with(|rules| {
        rules.profile = Profile::Keycloak;
        rules.roles = vec!["realm_access.roles".parse().unwrap(), "resource_access.ledger.roles".parse().unwrap()];
    });
    let claims = json!({
        "typ": "Bearer", "azp": "agent-a", "client_id": null, "roles": null, "realm_access": {"roles": ["tool-runner"]},
        "resource_access": {"ledger": {"roles": ["reader"]}, "other": {"roles": ["root"]}},
    });
    let verified = world.verify(&world.token(&json!({"typ": "JWT"}), &claims)).await.unwrap();
    assert_eq!(verified.roles(), ["reader".into(), "tool-runner".into()], "roles of another client are not ours");
    for (typ, kind) in [("JWT", "ID"), ("JWT", "Refresh"), ("logout+jwt", "Bearer")] {
        let mut other = claims.clone();
        other["typ"] = kind.into();
        assert_eq!(
            world.refused(&world.token(&json!({ "typ": typ }), &other)).await,
            TokenRefusal::Type,
            "{typ} {kind}"
        );
    }
    let two = world.token(&json!({"typ": "JWT"}), &json!({"typ": "Bearer", "azp": "agent-b"}));
    assert_eq!(world.refused(&two).await, TokenRefusal::Claim("azp"));
}

#[tokio::test]
async fn the_same_token_with_another_certificate_is_another_question() {
    let mut world = World::new();
    let token = world.token(&json!({}), &json!({}));
    assert!(world.verify(&token).await.is_ok());
    world.presented = Thumbprint::of(b"the thief's certificate");
    assert_eq!(world.refused(&token).await, TokenRefusal::Mismatch);
}

#[tokio::test]
async fn the_client_and_the_agent_belong_together() {
    let mut world = World::new();
    let token = world.token(&json!({}), &json!({}));
    let agent = |client: &str| TokenRefusal::Agent { issuer: ISSUER.to_owned(), client: client.to_owned() };
    let other = world.token(&json!({}), &json!({"client_id": "agent-b"}));
    assert_eq!(world.refused(&other).await, agent("agent-b"));
    assert!(world.verify(&token).await.is_ok());
    world.agent = AgentId::new(&"agents.internal".parse().unwrap(), "intern-bot").unwrap();
    assert_eq!(world.refused(&token).await, agent("agent-a"), "also where it was verified for another agent before");
}

#[tokio::test]
async fn what_was_verified_holds_until_the_end_and_no_longer() {
    let world = World::new();
    let token = world.token(&json!({}), &json!({}));
    let first = world.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &world.verify(&token).await.unwrap()), "the second answer is the first one");
    world.clock.advance(Duration::from_secs(300));
    let at = UnixTime::from_secs(world.now());
    assert_eq!(world.refused(&token).await, TokenRefusal::Expired { at });
}

#[tokio::test]
async fn actors_are_named_and_counted() {
    let world = World::new();
    let one = json!({"sub": "alice", "act": {"sub": "agent-a"}});
    let verified = world.verify(&world.token(&json!({}), &one)).await.unwrap();
    assert_eq!((verified.subject(), verified.actors()), ("alice", &["agent-a".into()][..]));
    let two = json!({"act": {"sub": "agent-a", "act": {"sub": "agent-b"}}});
    assert_eq!(world.refused(&world.token(&json!({}), &two)).await, TokenRefusal::Actors { limit: 1 });
    for wrong in [json!("agent-a"), json!({}), json!({"sub": 1}), json!({"sub": ""})] {
        assert_eq!(world.refused(&world.token(&json!({}), &json!({"act": wrong}))).await, TokenRefusal::Claim("act"));
    }
}

#[tokio::test]
async fn a_token_without_binding_passes_only_where_somebody_said_danger() {
    let world = World::new();
    let unbound = json!({"cnf": null});
    assert_eq!(world.refused(&world.token(&json!({}), &unbound)).await, TokenRefusal::Unbound);
    let lax = World::with(|rules| rules.binding = Binding::DangerBearer);
    assert!(lax.verify(&lax.token(&json!({}), &unbound)).await.is_ok());
    let other = json!({"cnf": {"x5t#S256": Thumbprint::of(b"another").to_base64url()}});
    assert_eq!(lax.refused(&lax.token(&json!({}), &other)).await, TokenRefusal::Mismatch);
}

#[tokio::test]
async fn no_issuer_no_entry() {
    let world = World::new();
    let nobody = TokenVerifier::new(Arc::new(world.clock.clone()));
    let token = UnverifiedToken::parse(&world.token(&json!({}), &json!({}))).unwrap();
    assert_eq!(nobody.verify_for(&token, world.presented, &world.agent).await, Err(TokenRefusal::Issuer));
}
