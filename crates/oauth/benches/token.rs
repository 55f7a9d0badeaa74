//! What a token costs: verified for the first time beside the bare signature, verified again, and had by its client again.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench without its estate measures nothing")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use countermark_credential::Source as _;
use countermark_identity::{AgentId, Clock, SystemClock};
use countermark_oauth::{
    FetchedKeys, IssuerRules, KeySource, Question, Registration, TokenVerifier, Tokens, UnverifiedToken,
};
use countermark_testkit::{AuthorizationServer, Client, MockClock, Pair, TestCa, TestSource, pair};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const RESOURCE: &str = "https://ledger.test/mcp";

#[derive(Debug)]
struct Known(Value);

impl KeySource for Known {
    fn fetch(&self) -> FetchedKeys<'_> {
        let keys = Bytes::from(self.0.to_string());
        Box::pin(async { Ok(keys) })
    }
}

struct World {
    ca: TestCa,
    sso: AuthorizationServer,
    met: Pair,
    _source: TestSource,
}

async fn world() -> World {
    let ca = TestCa::with_clock("agents.internal", MockClock::at(SystemClock.now()));
    let source = TestSource::new(ca.mint(&ca.server_spec("sso").dns("localhost")).credential());
    let clock: Arc<dyn Clock> = Arc::new(ca.clock().clone());
    let sso = AuthorizationServer::start(source.watch(), ca.trusted().generations(), Arc::clone(&clock)).await;
    sso.register("agent-a", Client::of_certificate("spiffe://agents.internal/agent/billing-bot"));
    let met = pair(&ca, "billing-bot", "ledger").await;
    World { ca, sso, met, _source: source }
}

/// An issuer that signs with RSA of 2048 bits, as Keycloak does unless told otherwise.
struct Rsa(RsaKeyPair);

impl Rsa {
    fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    fn keys(&self) -> Value {
        let (n, e) = (self.0.public_key().modulus(), self.0.public_key().exponent());
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (text(n.big_endian_without_leading_zero()), text(e.big_endian_without_leading_zero()));
        json!({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa", "n": n, "e": e}]})
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"});
        let signed = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl World {
    fn token(&self, number: u64) -> String {
        self.sso.sign(&json!({}), &self.claims(number))
    }

    fn verifier(&self, keys: Value) -> TokenVerifier {
        let mut rules = IssuerRules::new(self.sso.issuer(), RESOURCE);
        let billing = AgentId::new(self.ca.trust_domain(), "billing-bot").expect("a name");
        rules.clients = HashMap::from([("agent-a".to_owned(), vec![billing])]);
        let clock: Arc<dyn Clock> = Arc::new(self.ca.clock().clone());
        TokenVerifier::new(clock).with_issuer(rules, Box::new(Known(keys)), None)
    }

    fn claims(&self, number: u64) -> Value {
        let now = self.ca.clock().now().as_secs();
        let thumbprint = self.met.server.peer().leaf().thumbprint().to_base64url();
        json!({
            "iss": self.sso.issuer(), "sub": "service-account-agent-a", "client_id": "agent-a", "aud": RESOURCE,
            "iat": now, "exp": now + 300, "jti": number.to_string(), "scope": "ledger.read ledger.write",
            "cnf": {"x5t#S256": thumbprint},
        })
    }
}

/// Another number each time: no token of this process is like another.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The signature alone, of another token each time.
fn verifies(token: &str, key: &DecodingKey, algorithm: Algorithm) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm).expect("a verdict")
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(world());
    let next = || world.token(unique());
    let verifier = world.verifier(world.sso.keys());
    let jwk = world.sso.keys()["keys"][0].clone();
    let key =
        DecodingKey::from_ec_components(jwk["x"].as_str().unwrap_or_default(), jwk["y"].as_str().unwrap_or_default());
    let key = key.expect("a key");
    let mut group = criterion.benchmark_group("token");
    group.bench_function("the bare ES256 signature", |bencher| {
        bencher.iter_batched(next, |token| verifies(&token, &key, Algorithm::ES256), BatchSize::SmallInput);
    });
    group.bench_function("verified for the first time", |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || UnverifiedToken::parse(&next()).expect("a token"),
            |token| async {
                verifier.verify(&token, world.met.server.peer()).await.expect("good");
                token
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("verified again", |bencher| {
        let token = UnverifiedToken::parse(&next()).expect("a token");
        bencher.to_async(&runtime).iter(|| async { verifier.verify(&token, world.met.server.peer()).await });
    });
    let rsa = Rsa::new();
    let (keys, of_rsa) = (rsa.keys(), world.verifier(rsa.keys()));
    let text = |name: &str| keys["keys"][0][name].as_str().unwrap_or_default().to_owned();
    let key = DecodingKey::from_rsa_components(&text("n"), &text("e")).expect("a key");
    group.bench_function("the bare RS256 signature", |bencher| {
        let sign = || rsa.sign(&world.claims(unique()));
        bencher.iter_batched(sign, |token| verifies(&token, &key, Algorithm::RS256), BatchSize::SmallInput);
    });
    group.bench_function("verified for the first time, RS256", |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || UnverifiedToken::parse(&rsa.sign(&world.claims(unique()))).expect("a token"),
            |token| async {
                of_rsa.verify(&token, world.met.server.peer()).await.expect("good");
                token
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("had by its client again", |bencher| {
        let credential = world.met.agent_source.watch().borrow().clone();
        let roots = world.ca.bundle().roots().to_vec();
        let registration = Arc::new(Registration::new(world.sso.issuer(), "agent-a", roots));
        let tokens = Tokens::new(registration, credential, Arc::new(SystemClock)).expect("a client");
        let question = Question::of(RESOURCE);
        runtime.block_on(tokens.token(&question)).expect("a token");
        bencher.to_async(&runtime).iter(|| async { tokens.token(black_box(&question)).await });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
