//! Tokens beside certificates: required, optional, forbidden; scopes and roles as the policy demands them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countermark_credential::Source as _;
use countermark_identity::{AgentId, Clock};
use countermark_oauth::{FetchedKeys, IssuerRules, KeySource, TokenVerifier};
use countermark_testkit::{AuthorizationServer, MockClock, TestCa, TestSource};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::harness::*;
use crate::{TokenRules, Tokens};

const RESOURCE: &str = "https://ledger.internal:8443/mcp";
const POLICY: &str = r#"
version = 1
trust_domain = "agents.internal"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_balance"]

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["post_entry"]
scopes = ["ledger.read", "ledger.write"]

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["close_year"]
roles = ["accountant"]
"#;

#[derive(Debug)]
struct Known(Value);

impl KeySource for Known {
    fn fetch(&self) -> FetchedKeys<'_> {
        let keys = Bytes::from(self.0.to_string());
        Box::pin(async { Ok(keys) })
    }
}

/// The layer, and an issuer that it knows.
pub(super) struct Desk {
    pub(super) world: World,
    sso: AuthorizationServer,
    clock: MockClock,
}

impl Desk {
    pub(super) async fn new(tokens: impl FnOnce(TokenRules) -> Tokens) -> Self {
        let (ca, clock) = (TestCa::new("agents.internal"), MockClock::new());
        let source = TestSource::new(ca.mint(&ca.server_spec("sso").dns("localhost")).credential());
        let sso = AuthorizationServer::start(source.watch(), ca.trusted().generations(), Arc::new(clock.clone())).await;
        let mut rules = IssuerRules::new(sso.issuer(), RESOURCE);
        let billing = AgentId::new(ca.trust_domain(), "billing-bot").unwrap();
        rules.clients = HashMap::from([("agent-a".to_owned(), vec![billing])]);
        let keys = Known(sso.keys());
        let world = World::with(|config| {
            let verifier = TokenVerifier::new(Arc::clone(&config.clock)).with_issuer(rules, Box::new(keys), None);
            config.tokens = tokens(TokenRules::new(Arc::new(verifier), &RESOURCE.parse().unwrap()));
        })
        .await;
        clock.set(world.ca.clock().now());
        world.set_policy(POLICY);
        Self { world, sso, clock }
    }

    /// A token of the agent's certificate, with these claims in place of the usual ones.
    pub(super) fn token(&self, claims: &Value) -> String {
        let (now, peer) = (self.clock.now().as_secs(), self.world.billing());
        let mut whole = json!({
            "iss": self.sso.issuer(), "sub": "service-account-agent-a", "client_id": "agent-a", "aud": RESOURCE,
            "iat": now, "exp": now + 300, "cnf": {"x5t#S256": peer.leaf().thumbprint().to_base64url()},
        });
        for (name, value) in claims.as_object().unwrap() {
            whole[name] = value.clone();
        }
        self.sso.sign(&json!({}), &whole)
    }

    async fn call(&self, tool: &str, token: Option<&str>) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        self.world.send(self.world.billing(), with(call(tool), &headers)).await
    }
}

fn challenge(headers: &HeaderMap) -> &str {
    headers.get("www-authenticate").map(|value| value.to_str().unwrap()).unwrap_or_default()
}

const METADATA: &str = r#"resource_metadata="https://ledger.internal:8443/.well-known/oauth-protected-resource/mcp""#;

#[tokio::test]
async fn without_a_token_the_caller_learns_where_to_get_one() {
    let desk = Desk::new(Tokens::Required).await;
    let answer = desk.call("read_balance", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(challenge(&answer.headers), format!("Bearer {METADATA}"), "no error where nothing was sent");
    assert_eq!(desk.world.forwarded(), 0);
    assert_eq!((desk.world.last_line()["outcome"].as_str(), answer.code()), (Some("refused"), Some(-32600)));
    assert!(!answer.text.contains("resource_metadata"), "a model reads the body");
}

#[tokio::test]
async fn a_token_of_the_callers_certificate_passes_and_goes_no_further() {
    let desk = Desk::new(Tokens::Required).await;
    let token = desk.token(&json!({"scope": "ledger.read", "sub": "alice", "act": {"sub": "agent-a"}}));
    let answer = desk.call("read_balance", Some(&token)).await;
    assert_eq!((answer.status, desk.world.forwarded()), (StatusCode::OK, 1));
    desk.world.sent_on(|seen| {
        assert!(!seen.headers.contains_key("authorization"), "a token never goes on");
        let token = seen.caller.token().expect("the handler knows it");
        assert_eq!((token.subject(), token.client()), ("alice", "agent-a"));
        assert_eq!(token.actors(), ["agent-a".into()]);
    });
    let line = desk.world.last_line();
    assert_eq!(
        (line["client"].as_str(), line["subject"].as_str(), line["actor"].as_str()),
        (Some("agent-a"), Some("alice"), Some("agent-a"))
    );
    assert!(!line.to_string().contains(&token));
}

#[tokio::test]
async fn a_stolen_token_is_worthless() {
    let desk = Desk::new(Tokens::Required).await;
    let token = desk.token(&json!({}));
    let stolen = with(call("read_balance"), &[("authorization", &format!("Bearer {token}"))]);
    let answer = desk.world.send(desk.world.intern(), stolen).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(challenge(&answer.headers).contains(r#"error="invalid_token""#));
    let line = desk.world.last_line();
    assert_eq!(line["agent"], "intern-bot");
    assert!(line["reason"].as_str().unwrap().contains("bound to another certificate"));
    assert!(!answer.text.contains("certificate is"), "{}", answer.text);
}

#[tokio::test]
async fn scopes_that_are_missing_are_named_all_at_once_and_outside_of_what_a_model_reads() {
    let desk = Desk::new(Tokens::Required).await;
    let answer = desk.call("post_entry", Some(&desk.token(&json!({"scope": "ledger.read"})))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, Some(-32602)));
    let expected = format!(r#"Bearer error="insufficient_scope",scope="ledger.read ledger.write",{METADATA}"#);
    assert_eq!(challenge(&answer.headers), expected);
    assert!(!answer.text.contains("ledger.write"), "{}", answer.text);
    assert_eq!(desk.world.last_line()["outcome"], "denied");
    let enough = desk.token(&json!({"scope": "ledger.write ledger.read"}));
    assert_eq!(desk.call("post_entry", Some(&enough)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_role_is_not_to_be_asked_for() {
    let desk = Desk::new(Tokens::Required).await;
    let answer = desk.call("close_year", Some(&desk.token(&json!({"roles": ["clerk"]})))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::OK, Some(-32602)));
    assert_eq!(challenge(&answer.headers), "");
    let enough = desk.token(&json!({"roles": ["accountant"]}));
    assert!(desk.call("close_year", Some(&enough)).await.json()["result"].is_object());
}

#[tokio::test]
async fn a_list_shows_what_scopes_could_give_and_not_what_only_a_role_gives() {
    let desk = Desk::new(Tokens::Required).await;
    desk.world.upstream_answers(|_| {
        json(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_balance"},{"name":"post_entry"},{"name":"close_year"}]}}"#)
    });
    let token = format!("Bearer {}", desk.token(&json!({})));
    let list = with(request("tools/list", "{}"), &[("authorization", token.as_str())]);
    let answer = desk.world.send(desk.world.billing(), list).await;
    assert_eq!(answer.json()["result"]["tools"], json!([{"name": "read_balance"}, {"name": "post_entry"}]));
}

#[tokio::test]
async fn where_a_token_is_optional_scopes_still_need_one() {
    let desk = Desk::new(Tokens::Optional).await;
    assert_eq!(desk.call("read_balance", None).await.status, StatusCode::OK);
    let answer = desk.call("post_entry", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(challenge(&answer.headers), format!(r#"Bearer scope="ledger.read ledger.write",{METADATA}"#));
    let bad = desk.call("read_balance", Some("x.y.z")).await;
    assert_eq!(bad.status, StatusCode::UNAUTHORIZED, "one that is there is judged");
    let enough = desk.token(&json!({"scope": "ledger.write ledger.read"}));
    assert_eq!(desk.call("post_entry", Some(&enough)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn where_none_are_taken_scopes_give_nothing_and_where_they_are_forbidden_none_may_come() {
    let desk = Desk::new(|_| Tokens::Ignored).await;
    let enough = desk.token(&json!({"scope": "ledger.write ledger.read"}));
    let answer = desk.call("post_entry", Some(&enough)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::OK, Some(-32602)));
    assert_eq!(desk.call("read_balance", Some(&enough)).await.status, StatusCode::OK);
    desk.world.sent_on(|seen| assert!(!seen.headers.contains_key("authorization")));
    let strict = Desk::new(|_| Tokens::Forbidden).await;
    assert_eq!(strict.call("read_balance", Some(&enough)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(strict.call("read_balance", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_tokens_are_none() {
    let desk = Desk::new(Tokens::Required).await;
    let token = format!("Bearer {}", desk.token(&json!({})));
    let mut twice = with(call("read_balance"), &[("authorization", token.as_str())]);
    twice.headers_mut().append("authorization", token.parse().unwrap());
    let answer = desk.world.send(desk.world.billing(), twice).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(challenge(&answer.headers).contains(r#"error="invalid_request""#));
    for other in ["Basic eDp5", "DPoP x"] {
        let request = with(call("read_balance"), &[("authorization", other)]);
        assert_eq!(desk.world.send(desk.world.billing(), request).await.status, StatusCode::BAD_REQUEST, "{other}");
    }
    let query = Request::post(format!("/mcp?access_token={token}").replace("Bearer ", ""))
        .header("host", "ledger.internal:8443")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Full::new(call("read_balance").into()))
        .unwrap();
    assert_eq!(desk.world.send(desk.world.billing(), query).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_resource_says_what_it_is() {
    let desk = Desk::new(Tokens::Required).await;
    let mut get = bodiless(Method::GET, &[]);
    *get.uri_mut() = "/.well-known/oauth-protected-resource/mcp".parse().unwrap();
    let answer = desk.world.send(desk.world.billing(), get).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({
            "resource": RESOURCE, "authorization_servers": [desk.sso.issuer()],
            "scopes_supported": ["ledger.read", "ledger.write"], "bearer_methods_supported": ["header"],
            "tls_client_certificate_bound_access_tokens": true,
        })
    );
    let mut elsewhere = bodiless(Method::GET, &[("host", "evil.test")]);
    *elsewhere.uri_mut() = "/.well-known/oauth-protected-resource/mcp".parse().unwrap();
    assert_ne!(desk.world.send(desk.world.billing(), elsewhere).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_policy_that_asks_for_more_scopes_counts_for_the_token_that_is_there() {
    let desk = Desk::new(Tokens::Required).await;
    let token = desk.token(&json!({}));
    assert_eq!(desk.call("read_balance", Some(&token)).await.status, StatusCode::OK);
    desk.world
        .set_policy(&POLICY.replace(r#"tools = ["read_balance"]"#, "tools = [\"read_balance\"]\nscopes = [\"new\"]"));
    assert_eq!(desk.call("read_balance", Some(&token)).await.status, StatusCode::FORBIDDEN);
}
