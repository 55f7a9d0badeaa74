use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countermark_credential::Source as _;
use countermark_proxy::GuardError;
use countermark_proxy::connect::{Connect, ConnectConfig, ConnectTokens};
use countermark_proxy::guard::{Guard, TokenIssuer, TokenMode, TokensConfig, Upstream, UpstreamTokens};
use countermark_testkit::{AuthorizationServer, Client, Fault, TestSource};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::connect::Host;
use crate::resource::Resource;
use crate::support::*;

const SCOPES: &str = r#"
version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_*"]
scopes = ["ledger.read"]

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["post_entry"]
scopes = ["ledger.read", "ledger.write"]

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["drop_ledger"]
roles = ["owner"]
"#;

/// An estate whose guard wants tokens.
struct World {
    estate: Estate,
    sso: AuthorizationServer,
    _source: TestSource,
    upstream: Fake,
    guard: Served,
}

impl World {
    async fn new() -> Self {
        let estate = Estate::of_today();
        estate.write_policy(SCOPES);
        let ledger = estate.ca.server_spec("ledger").dns("localhost");
        estate.deliver("ledger", estate.ca.mint(&ledger).credential());
        let source = TestSource::new(estate.ca.mint(&estate.ca.server_spec("sso").dns("localhost")).credential());
        let clock = Arc::new(estate.ca.clock().clone());
        let sso = AuthorizationServer::start(source.watch(), estate.trust().generations(), clock).await;
        let billing = Client::of_certificate("spiffe://agents.internal/agent/billing-bot");
        sso.register("billing", billing.with_scopes(&["ledger.read", "ledger.write"]));
        let upstream = Fake::ledger().await;
        let mut config = estate.config(upstream.upstream());
        config.tokens = tokens(&sso);
        let guard = estate.serve(config).await;
        Self { estate, sso, _source: source, upstream, guard }
    }

    async fn connect(&self, change: impl FnOnce(&mut ConnectTokens)) -> Connect {
        let mut tokens = ConnectTokens::new("billing");
        tokens.issuer = Some(self.sso.issuer().to_owned());
        change(&mut tokens);
        let mut config = ConnectConfig::new(self.guard.url.clone(), self.estate.agent_dir("billing-bot"));
        config.server = Some("ledger".to_owned());
        config.tokens = Some(tokens);
        Connect::open_at(config, Arc::new(self.estate.ca.clock().clone())).await.unwrap()
    }
}

fn tokens(sso: &AuthorizationServer) -> TokensConfig {
    let mut issuer = TokenIssuer::new(sso.issuer());
    issuer.clients = vec![("billing".to_owned(), "billing-bot".to_owned())];
    TokensConfig { mode: TokenMode::Required, audience: None, issuers: vec![issuer], upstream: None }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_host_calls_with_tokens_that_connect_gets_by_itself() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|_| ()).await);
    host.initialize().await;
    let read = host.ask(&call(1, "read_balance", json!({}))).await;
    assert_eq!(text(&read), "read_balance", "{read}");
    let posted = host.ask(&call(2, "post_entry", json!({}))).await;
    assert_eq!(text(&posted), "post_entry", "the scopes of the challenge were asked for: {posted}");
    let dropped = host.ask(&call(3, "drop_ledger", json!({}))).await;
    assert_eq!(dropped["error"]["code"], -32602, "a role is nothing to ask for: {dropped}");
    host.end().await;
    let audit = world.estate.audit();
    assert!(audit.iter().any(|line| line["outcome"] == "permit" && line["client"] == "billing"));
    let seen = world.upstream.seen.lock().unwrap();
    assert!(seen.iter().all(|request| !request.headers().contains_key("authorization")), "a token never goes on");
}

#[tokio::test]
async fn connect_learns_the_issuer_from_the_challenge() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|tokens| tokens.issuer = None).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    host.end().await;
}

#[tokio::test]
async fn a_secret_is_sent_to_nobody_whom_only_the_called_server_names() {
    let world = World::new().await;
    let mut tokens = ConnectTokens::new("billing");
    let secret = countermark_identity::Secret::new("a secret".to_owned());
    tokens.authentication = countermark_oauth::ClientAuthentication::Secret(Arc::new(secret));
    let mut config = ConnectConfig::new(world.guard.url.clone(), world.estate.agent_dir("billing-bot"));
    (config.server, config.tokens) = (Some("ledger".to_owned()), Some(tokens));
    let error = Connect::open_at(config, Arc::new(world.estate.ca.clock().clone())).await.unwrap_err();
    assert!(error.to_string().contains("name --issuer"), "{error}");
}

#[tokio::test]
async fn a_stolen_token_is_worthless_even_to_a_twin() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|_| ()).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    // Another certificate of the very same agent: nothing but the binding stands in the way.
    let stolen = format!("Bearer {}", world.sso.issued().last().unwrap());
    let (mut headers, body) = modern(1, "tools/call", json!({"name": "read_balance", "arguments": {}}));
    headers.push(("authorization".to_owned(), stolen));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let thief = world.estate.client("billing-bot");
    let answer = thief.send(&world.guard.url, Method::POST, &headers, body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("bound to another certificate"));
}

#[tokio::test]
async fn without_a_token_there_is_a_challenge_and_a_document() {
    let world = World::new().await;
    let caller = world.estate.client("billing-bot");
    let answer = caller.modern(&world.guard.url, "tools/call", json!({"name": "read_balance", "arguments": {}})).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.headers["www-authenticate"].to_str().unwrap().to_owned();
    let url = challenge.split('"').nth(1).unwrap();
    let document = caller.send(url, Method::GET, &[], String::new()).await.json();
    assert_eq!(document["resource"], world.guard.url);
    assert_eq!(document["authorization_servers"], json!([world.sso.issuer()]));
    assert_eq!(document["scopes_supported"], json!(["ledger.read", "ledger.write"]));
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_certificate_and_token_are_replaced_under_a_host() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|_| ()).await);
    host.initialize().await;
    for round in 0..3 {
        world.estate.agent_dir("billing-bot");
        let asked = world.sso.token_requests();
        for id in 0..400 {
            let answer = host.ask(&call(round * 1000 + id, "read_balance", json!({}))).await;
            assert_eq!(text(&answer), "read_balance", "{answer}");
            if id > 20 && world.sso.token_requests() > asked {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(world.sso.token_requests() > asked, "the new certificate got a token of its own");
    }
    host.end().await;
    let audit = world.estate.audit();
    let refused: Vec<_> = audit.iter().filter(|line| line["outcome"] != "permit").collect();
    assert_eq!(refused.len(), 1, "but for the first, which asked for scopes, no call was refused: {refused:?}");
}

#[tokio::test]
async fn a_disabled_client_is_told_so_once_its_token_ends() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|_| ()).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    world.sso.disable("billing");
    assert_eq!(text(&host.ask(&call(2, "read_balance", json!({}))).await), "read_balance", "while the token lives");
    world.estate.ca.clock().advance(Duration::from_secs(301));
    let refused = host.ask(&call(3, "read_balance", json!({}))).await;
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(said.contains("invalid_client"), "{refused}");
    assert!(world.sso.issued().iter().all(|token| !refused.to_string().contains(token)));
}

#[tokio::test]
async fn tokens_end_with_connect_where_that_is_asked_for() {
    let world = World::new().await;
    let mut host = Host::start(world.connect(|tokens| tokens.revoke = true).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    host.end().await;
    assert!(world.sso.revoked() > 0);
}

/// A server that answers 401 as often as `refusals` says.
async fn refusing(refusals: Arc<AtomicUsize>) -> Fake {
    Fake::new(move |request| {
        let refuse = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        async move {
            if !refuse {
                return ledger(&request);
            }
            http::Response::builder().status(401).body(Full::default().boxed_unsync()).unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn the_server_behind_gets_a_token_of_its_own() {
    let world = World::new().await;
    let refusals = Arc::new(AtomicUsize::new(0));
    let upstream = refusing(Arc::clone(&refusals)).await;
    let guard = exchanging(&world, upstream.upstream()).await;
    let mut host = Host::start(behind(&world, &guard).await);
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    grow_old().await;
    refusals.store(1, Ordering::SeqCst);
    assert_eq!(text(&host.ask(&call(2, "read_balance", json!({}))).await), "read_balance");
    let shown: Vec<String> = {
        let seen = upstream.seen.lock().unwrap();
        seen.iter().map(|request| request.headers()["authorization"].to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown.len(), 3);
    assert!(shown[0] == shown[1] && shown[1] != shown[2], "after the 401 a fresh one");
    let issued = world.sso.issued();
    for token in &shown {
        let token = token.strip_prefix("Bearer ").unwrap();
        let at = issued.iter().position(|issued| issued == token).expect("one of the server's");
        let claims = world.sso.claims(at);
        assert_eq!(
            (&claims["aud"], &claims["sub"], &claims["act"]["sub"]),
            (&json!("https://books.internal"), &json!("billing"), &json!("guard"))
        );
    }
}

/// A guard that exchanges tokens for this server behind it.
async fn exchanging(world: &World, upstream: Upstream) -> Served {
    let guard_client = Client::of_certificate("spiffe://agents.internal/server/ledger").with_scopes(&["books"]);
    world.sso.register("guard", guard_client);
    let mut config = world.estate.config(upstream);
    config.audit = countermark_proxy::guard::AuditSink::File(world.estate.path("exchange.jsonl"));
    config.tokens = tokens(&world.sso);
    config.tokens.audience = Some(world.guard.url.clone());
    config.tokens.upstream = Some(books(&world.sso));
    world.estate.serve(config).await
}

/// An agent with a token of its own that calls such a guard.
async fn behind(world: &World, guard: &Served) -> Connect {
    let mut tokens = ConnectTokens::new("billing");
    tokens.issuer = Some(world.sso.issuer().to_owned());
    tokens.resource = Some(world.guard.url.clone());
    let mut config = ConnectConfig::new(guard.url.clone(), world.estate.agent_dir("billing-bot"));
    (config.server, config.tokens) = (Some("ledger".to_owned()), Some(tokens));
    Connect::open_at(config, Arc::new(world.estate.ca.clock().clone())).await.unwrap()
}

/// Ten seconds are young.
async fn grow_old() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_costs_one_token_in_ten_seconds_for_each_callers() {
    let world = World::new().await;
    let refusals = Arc::new(AtomicUsize::new(usize::MAX));
    let upstream = refusing(Arc::clone(&refusals)).await;
    let guard = exchanging(&world, upstream.upstream()).await;
    let mut host = Host::start(behind(&world, &guard).await);
    // The caller's own, one with the scopes that guard wants, and guard's for that.
    for (round, asked) in [(0, 3), (1, 4), (2, 5)] {
        for id in 0..10 {
            let refused = host.ask(&call(round * 10 + id, "read_balance", json!({}))).await;
            let said = refused["error"]["message"].as_str().unwrap();
            assert!(said.contains("guard has no token"), "the caller is told no 401 of guard's: {refused}");
        }
        assert_eq!(world.sso.token_requests(), asked, "not one for each call");
        grow_old().await;
    }
    refusals.store(0, Ordering::SeqCst);
    assert_eq!(text(&host.ask(&call(40, "read_balance", json!({}))).await), "read_balance");
    assert_eq!(world.sso.token_requests(), 5, "what is taken is kept");
}

/// What guard is at the issuer for the server behind it.
fn books(sso: &AuthorizationServer) -> UpstreamTokens {
    UpstreamTokens {
        issuer: sso.issuer().to_owned(),
        ca: None,
        client: "guard".to_owned(),
        authentication: countermark_oauth::ClientAuthentication::Certificate,
        resource: "https://books.internal".to_owned(),
        scopes: vec!["books".to_owned()],
    }
}

/// Callers' tokens cannot be exchanged ahead of a new certificate: what was had with the old one counts on while nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_gone_while_guards_certificate_changes_costs_no_call() {
    let world = World::new().await;
    let books_server = Resource::start(&world.estate, "books").await;
    let guard = exchanging(&world, Upstream::Http { url: books_server.url.clone() }).await;
    let mut host = Host::start(behind(&world, &guard).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    world.sso.fail(Fault::Status(503));
    let asked = world.sso.token_requests();
    let spec = world.estate.ca.server_spec("ledger").dns("localhost");
    world.estate.deliver("ledger", world.estate.ca.mint(&spec).credential());
    // The new certificate asks for a token of its own, in vain.
    for id in 2..200 {
        let answer = host.ask(&call(id, "read_balance", json!({}))).await;
        assert_eq!(text(&answer), "read_balance", "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.sso.token_requests(), asked);
    world.sso.recover();
    for id in 200..1200 {
        assert_eq!(text(&host.ask(&call(id, "read_balance", json!({}))).await), "read_balance");
        if world.sso.token_requests() > asked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(world.sso.token_requests() > asked, "it is asked again once it is back");
    assert_eq!(books_server.state.refused.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_hangs_while_guards_certificate_changes_holds_up_no_call_for_long() {
    let world = World::new().await;
    let books_server = Resource::start(&world.estate, "books").await;
    let guard = exchanging(&world, Upstream::Http { url: books_server.url.clone() }).await;
    let mut host = Host::start(behind(&world, &guard).await);
    host.initialize().await;
    assert_eq!(text(&host.ask(&call(1, "read_balance", json!({}))).await), "read_balance");
    world.sso.fail(Fault::Slow(Duration::from_secs(600)));
    let spec = world.estate.ca.server_spec("ledger").dns("localhost");
    world.estate.deliver("ledger", world.estate.ca.mint(&spec).credential());
    let (mut waited, began) = (0, std::time::Instant::now());
    for id in 2..400 {
        let asked = std::time::Instant::now();
        assert_eq!(text(&host.ask(&call(id, "read_balance", json!({}))).await), "read_balance");
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        waited += usize::from(asked.elapsed() >= Duration::from_secs(1));
        if began.elapsed() > Duration::from_secs(4) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(waited, 1, "the first to ask with the new certificate, a second long");
    assert_eq!(books_server.state.refused.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_certificate_and_its_exchanged_tokens_are_replaced_as_one() {
    let world = World::new().await;
    let books_server = Resource::start(&world.estate, "books").await;
    let guard = exchanging(&world, Upstream::Http { url: books_server.url.clone() }).await;
    let mut host = Host::start(behind(&world, &guard).await);
    host.initialize().await;
    for round in 0..3 {
        let asked = world.sso.token_requests();
        for id in 0..400 {
            let answer = host.ask(&call(round * 1000 + id, "read_balance", json!({}))).await;
            assert_eq!(text(&answer), "read_balance", "{answer}");
            if id == 5 {
                let spec = world.estate.ca.server_spec("ledger").dns("localhost");
                world.estate.deliver("ledger", world.estate.ca.mint(&spec).credential());
            }
            if id > 20 && world.sso.token_requests() > asked {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(world.sso.token_requests() > asked, "the new certificate got a token of its own");
    }
    assert_eq!(
        books_server.state.refused.load(Ordering::SeqCst),
        0,
        "no token came over another certificate than its own"
    );
}

#[tokio::test]
async fn guard_is_ready_once_it_knows_the_keys() {
    let estate = Estate::of_today();
    let source = TestSource::new(estate.ca.mint(&estate.ca.server_spec("sso").dns("localhost")).credential());
    let clock = Arc::new(estate.ca.clock().clone());
    let sso = AuthorizationServer::start(source.watch(), estate.trust().generations(), clock).await;
    sso.fail(Fault::Status(503));
    let upstream = Fake::ledger().await;
    let mut config = estate.config(upstream.upstream());
    config.tokens = tokens(&sso);
    let guard = estate.serve(config).await;
    let (status, why) = get(guard.admin, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("the keys of an issuer"), "{why}");
    sso.recover();
    until(async || get(guard.admin, "/readyz").await.0 == StatusCode::OK).await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_at_the_start() {
    let estate = Estate::new();
    let upstream = Fake::ledger().await;
    let good = || {
        let mut issuer = TokenIssuer::new("https://sso.internal");
        issuer.clients = vec![("billing".to_owned(), "billing-bot".to_owned())];
        TokensConfig { mode: TokenMode::Required, audience: None, issuers: vec![issuer], upstream: None }
    };
    type Change = fn(&mut TokensConfig);
    let wrong: [(Change, &str); 6] = [
        (|tokens| tokens.issuers.clear(), "no issuer is named"),
        (|tokens| tokens.issuers[0].clients.clear(), "no client of https://sso.internal may be any agent"),
        (|tokens| tokens.audience = Some("ledger".to_owned()), "the audience ledger is no https:// URL"),
        (|tokens| tokens.audience = Some("http://ledger.internal".to_owned()), "is no https:// URL"),
        (
            |tokens| tokens.issuers[0].clients[0].1 = "billing bot".to_owned(),
            "the agent `billing bot` of a client is none",
        ),
        (
            |tokens| tokens.issuers[0].ca = Some("/nonexistent.pem".into()),
            "the CA file /nonexistent.pem cannot be used",
        ),
    ];
    for (change, expected) in wrong {
        let mut config = estate.config(upstream.upstream());
        config.tokens = good();
        change(&mut config.tokens);
        let error = Guard::bind_at(config, Arc::new(estate.ca.clock().clone())).await.unwrap_err();
        assert!(matches!(&error, GuardError::Tokens(said) if said.contains(expected)), "{error}\nwanted {expected}");
    }
}
