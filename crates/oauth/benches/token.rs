//! What a token costs: verified for the first time beside the bare signature, verified again, and had by its client again.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench without its estate measures nothing")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

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
    verifier: TokenVerifier,
    _source: TestSource,
}

async fn world() -> World {
    let ca = TestCa::with_clock("agents.internal", MockClock::at(SystemClock.now()));
    let source = TestSource::new(ca.mint(&ca.server_spec("sso").dns("localhost")).credential());
    let clock: Arc<dyn Clock> = Arc::new(ca.clock().clone());
    let sso = AuthorizationServer::start(source.watch(), ca.trusted().generations(), Arc::clone(&clock)).await;
    sso.register("agent-a", Client::of_certificate("spiffe://agents.internal/agent/billing-bot"));
    let met = pair(&ca, "billing-bot", "ledger").await;
    let mut rules = IssuerRules::new(sso.issuer(), RESOURCE);
    let billing = AgentId::new(ca.trust_domain(), "billing-bot").expect("a name");
    rules.clients = HashMap::from([("agent-a".to_owned(), vec![billing])]);
    let verifier = TokenVerifier::new(clock).with_issuer(rules, Box::new(Known(sso.keys())), None);
    World { ca, sso, met, verifier, _source: source }
}

impl World {
    fn token(&self, number: u64) -> String {
        let now = self.ca.clock().now().as_secs();
        let thumbprint = self.met.server.peer().leaf().thumbprint().to_base64url();
        let claims = json!({
            "iss": self.sso.issuer(), "sub": "service-account-agent-a", "client_id": "agent-a", "aud": RESOURCE,
            "iat": now, "exp": now + 300, "jti": number.to_string(), "scope": "ledger.read ledger.write",
            "cnf": {"x5t#S256": thumbprint},
        });
        self.sso.sign(&json!({}), &claims)
    }
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(world());
    let mut number = 0;
    let mut next = || {
        number += 1;
        world.token(number)
    };
    let jwk = world.sso.keys()["keys"][0].clone();
    let key =
        DecodingKey::from_ec_components(jwk["x"].as_str().unwrap_or_default(), jwk["y"].as_str().unwrap_or_default());
    let key = key.expect("a key");
    let mut group = criterion.benchmark_group("token");
    group.bench_function("the bare ES256 signature", |bencher| {
        let token = next();
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        bencher.iter(|| jsonwebtoken::crypto::verify(signature, black_box(signed.as_bytes()), &key, Algorithm::ES256));
    });
    group.bench_function("verified for the first time", |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || UnverifiedToken::parse(&next()).expect("a token"),
            |token| async {
                world.verifier.verify(&token, world.met.server.peer()).await.expect("good");
                token
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("verified again", |bencher| {
        let token = UnverifiedToken::parse(&next()).expect("a token");
        bencher.to_async(&runtime).iter(|| async { world.verifier.verify(&token, world.met.server.peer()).await });
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
