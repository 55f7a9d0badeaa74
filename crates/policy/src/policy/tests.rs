use super::*;
use crate::testing::{HEAD, Random, agent, foreign, naive_matches, server, td};
use crate::{Kind, UnsafeResource};

fn policy(rest: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{rest}")).unwrap()
}

/// The file of the design, without the keys that later issues enforce.
const EXAMPLE: &str = r#"
[map]
"dns:etl.corp.internal" = "legacy-etl"
"spiffe://agents.internal/ns/crm/sa/bot" = { agent = "crm-bot" }
"dns:guest.partner.example" = { agent = "guest", bundle = "partner.example" }

[groups]
finance = ["billing-bot", "audit-*"]

[revocation]
"partner.example" = "danger_none"

[[grant]]
who     = ["@finance", "spiffe://partner.example/agent/auditor"]
servers = ["ledger"]
tools   = ["read_*", "post_entry"]

[[grant]]
who       = ["crm-bot"]
servers   = ["crm-*"]
prompts   = ["greeting"]
resources = ["file:///srv/crm/*"]
methods   = ["vendor/x"]

[[deny]]
who = ["*"]
servers = ["*"]
tools = ["drop_*"]

[[deny]]
who = ["audit-old"]
servers = ["ledger"]
"#;

#[test]
fn the_example_decides_as_it_reads() {
    use Action::{Method, Prompt, Protocol, Resource, Tool};
    let policy = policy(EXAMPLE);
    let denied = |effect| move |number, line| Err(Denied::DeniedBy { rule: RuleId::new(effect, number, line) });
    let deny = denied(Effect::Deny);
    let grant = |number, line| Ok(RuleId::new(Effect::Grant, number, line));
    let (none, nothing) = (Err(Denied::NoGrant), Err(Denied::NoGrantOnServer));
    for (caller, on, action, expected) in [
        (agent("billing-bot"), "ledger", Tool("read_balance"), grant(1, 15)),
        (agent("billing-bot"), "ledger", Tool("post_entry"), grant(1, 15)),
        (agent("billing-bot"), "ledger", Protocol, grant(1, 15)),
        (agent("audit-7"), "ledger", Tool("read_balance"), grant(1, 15)),
        (foreign("auditor"), "ledger", Tool("read_balance"), grant(1, 15)),
        (agent("crm-bot"), "crm-eu", Prompt("greeting"), grant(2, 20)),
        (agent("crm-bot"), "crm-eu", Resource("file:///srv/crm/a/b"), grant(2, 20)),
        (agent("crm-bot"), "crm-eu", Method("vendor/x"), grant(2, 20)),
        // what is listed under one kind is not permitted under another
        (agent("billing-bot"), "ledger", Prompt("post_entry"), none),
        (agent("billing-bot"), "ledger", Resource("read_x"), none),
        (agent("billing-bot"), "ledger", Method("post_entry"), none),
        (agent("crm-bot"), "crm-eu", Tool("greeting"), none),
        // case and whole string
        (agent("billing-bot"), "ledger", Tool("Post_entry"), none),
        (agent("billing-bot"), "ledger", Tool("post_entry2"), none),
        // the same name in another trust domain is nobody; a foreign agent is not a bare name
        (foreign("billing-bot"), "ledger", Tool("read_balance"), nothing),
        (foreign("audit-7"), "ledger", Tool("read_balance"), nothing),
        (agent("auditor"), "ledger", Tool("read_balance"), nothing),
        (agent("intern-bot"), "ledger", Tool("read_balance"), nothing),
        (agent("billing-bot"), "crm-eu", Tool("read_balance"), nothing),
        (agent("billing-bot"), "ledgers", Protocol, nothing),
        // deny wins, of some names and of everything
        (agent("billing-bot"), "ledger", Tool("drop_ledger"), deny(1, 27)),
        (agent("audit-old"), "ledger", Tool("read_balance"), deny(2, 32)),
        (agent("audit-old"), "ledger", Protocol, deny(2, 32)),
        (agent("billing-bot/sub/1"), "ledger", Tool("read_balance"), Err(Denied::SubAgent)),
    ] {
        let decision = policy.authorize(&caller, &server(on), action);
        if let Ok(permit) = &decision {
            assert_eq!(permit.agent(), &caller);
        }
        assert_eq!(decision.map(|permit| permit.rule()), expected, "{} {on} {action:?}", caller.spiffe_id());
        assert_eq!(policy.could(&caller, &server(on)), policy.authorize(&caller, &server(on), Protocol).is_ok());
    }
    assert_eq!(RuleId::new(Effect::Grant, 2, 14).to_string(), "grant 2 (line 14)");
}

#[test]
fn the_example_says_more_than_rules() {
    let policy = policy(EXAMPLE);
    assert_eq!(policy.trust_domain(), &td("agents.internal"));
    assert_eq!(policy.map().len(), 3);
    assert_eq!(policy.revocation_of(&td("partner.example")), RevocationMode::DangerNone);
    assert_eq!(policy.revocation_of(&td("agents.internal")), RevocationMode::Required);
    assert_eq!(policy.revocation().len(), 1);
    assert!(policy.names_server(&server("anything")), "the first deny names every server");
}

#[test]
fn a_glob_of_agents_is_a_glob_of_own_agents() {
    let policy = policy("[[grant]]\nwho = [\"*\"]\nservers = [\"*\"]\ntools = [\"*\"]\n");
    let tool = Action::Tool("x");
    assert!(policy.authorize(&agent("a"), &server("s"), tool).is_ok());
    assert_eq!(policy.authorize(&foreign("a"), &server("s"), tool), Err(Denied::NoGrantOnServer));
    let theirs = ServerId::new(&td("partner.example"), "s").unwrap();
    assert_eq!(policy.authorize(&agent("a"), &theirs, tool), Err(Denied::NoGrantOnServer));
    assert!(!policy.names_server(&theirs));
    assert_eq!(policy.authorize(&agent("a/sub/b"), &server("s"), tool), Err(Denied::SubAgent));
}

#[test]
fn an_own_spiffe_id_is_its_bare_name() {
    let policy = policy(
        "[[grant]]\nwho = [\"spiffe://agents.internal/agent/a\"]\nservers = [\"spiffe://agents.internal/server/s\"]\ntools = [\"x\"]\n",
    );
    assert!(policy.authorize(&agent("a"), &server("s"), Action::Tool("x")).is_ok());
    assert!(policy.authorize(&foreign("a"), &server("s"), Action::Tool("x")).is_err());
}

#[test]
fn unsafe_resources_are_refused_before_any_rule() {
    let policy = policy("[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\nresources = [\"*\"]\n");
    for (uri, why) in [
        ("file:///a/../b", UnsafeResource::DotSegment),
        ("file:///a/%2E%2e/b", UnsafeResource::Encoded),
        ("file:///a\\b", UnsafeResource::Backslash),
        ("file:///a\0", UnsafeResource::Control),
    ] {
        let decision = policy.authorize(&agent("a"), &server("s"), Action::Resource(uri));
        assert_eq!(decision, Err(Denied::UnsafeResource(why)));
    }
    assert!(policy.authorize(&agent("a"), &server("s"), Action::Resource("file:///a/b")).is_ok());
}

#[test]
fn only_a_missing_grant_may_be_observed() {
    assert!(Denied::NoGrant.lacks_grant() && Denied::NoGrantOnServer.lacks_grant());
    let rule = RuleId::new(Effect::Deny, 1, 1);
    for other in [Denied::DeniedBy { rule }, Denied::SubAgent, Denied::UnsafeResource(UnsafeResource::Control)] {
        assert!(!other.lacks_grant());
    }
}

#[test]
fn nobody_means_nobody() {
    for policy in [Policy::nobody(td("agents.internal")), policy("")] {
        assert!(!policy.could(&agent("a"), &server("s")));
        assert!(!policy.names_server(&server("s")));
        assert!(policy.map().is_empty());
    }
}

#[test]
fn the_earliest_grant_is_named() {
    let rule = "[[grant]]\nwho = [\"{}\"]\nservers = [\"s\"]\ntools = [\"x\"]\n";
    let text: String = ["*", "a", "a*"].iter().map(|who| rule.replace("{}", who)).collect();
    let permit = policy(&text).authorize(&agent("a"), &server("s"), Action::Tool("x")).unwrap();
    assert_eq!(permit.rule().to_string(), "grant 1 (line 3)");
}

/// One rule as generated: effect, who, servers, and names by kind.
type Model = (Effect, Vec<String>, Vec<String>, [Vec<String>; 4]);

fn list(random: &mut Random, from: &[&str], least: usize) -> Vec<String> {
    // Now and then a list so long, or so many rules, that they are looked up in another way.
    let most = if random.below(8) == 0 { 14 } else { 3 };
    (0..least + random.below(most)).map(|_| random.pick(from).to_owned()).collect()
}

fn generate(random: &mut Random) -> Vec<Model> {
    let who = ["a", "ab", "abc", "a*", "*c", "*", "a*c", "*b*", "@g", "@h", "spiffe://partner.example/agent/a"];
    let servers = ["s", "st", "s*", "*t", "*"];
    let names = ["x", "xy", "x*", "*y", "*", "*x*", "\\*", "x\\*"];
    let rules = if random.below(6) == 0 { 25 } else { random.below(6) };
    (0..rules)
        .map(|_| {
            let effect = if random.below(3) == 0 { Effect::Deny } else { Effect::Grant };
            let mut kinds = [0; 4].map(|_| if random.below(2) == 0 { list(random, &names, 1) } else { Vec::new() });
            if effect == Effect::Grant && kinds.iter().all(Vec::is_empty) {
                kinds[0].push("x".into());
            }
            (effect, list(random, &who, 1), list(random, &servers, 1), kinds)
        })
        .collect()
}

fn write(model: &[Model]) -> String {
    let quote = |items: &[String]| items.iter().map(|item| format!("'{item}'")).collect::<Vec<_>>().join(", ");
    let mut text = format!("{HEAD}[groups]\ng = ['ab', '@h']\nh = ['*c', 'spiffe://partner.example/agent/ab']\n");
    for (effect, who, servers, kinds) in model {
        text += &format!("[[{effect}]]\nwho = [{}]\nservers = [{}]\n", quote(who), quote(servers));
        for (kind, names) in Kind::ALL.iter().zip(kinds).filter(|(_, names)| !names.is_empty()) {
            text += &format!("{} = [{}]\n", kind.key(), quote(names));
        }
    }
    text
}

fn naive_who(element: &str, caller: &AgentId) -> bool {
    match element {
        "@h" => naive_who("*c", caller) || naive_who("spiffe://partner.example/agent/ab", caller),
        "@g" => naive_who("ab", caller) || naive_who("@h", caller),
        id if id.starts_with("spiffe:") => caller.spiffe_id().as_str() == id,
        glob => caller.trust_domain() == &td("agents.internal") && naive_matches(glob, caller.name()),
    }
}

fn naive(model: &[Model], caller: &AgentId, on: &str, action: Action<'_>) -> Result<Effect, Denied> {
    let speaks = |effect| {
        model.iter().filter(move |rule| rule.0 == effect).filter(|rule| {
            rule.1.iter().any(|who| naive_who(who, caller)) && rule.2.iter().any(|glob| naive_matches(glob, on))
        })
    };
    let lists = |rule: &&Model| match action.subject() {
        None => false,
        Some((kind, name)) => {
            let at = Kind::ALL.iter().position(|&other| other == kind).unwrap();
            rule.3[at].iter().any(|glob| naive_matches(glob, name))
        }
    };
    let everything = |rule: &&Model| rule.3.iter().all(Vec::is_empty);
    if speaks(Effect::Deny).any(|rule| everything(&rule) || lists(&rule)) {
        return Ok(Effect::Deny);
    }
    if speaks(Effect::Grant).next().is_none() {
        return Err(Denied::NoGrantOnServer);
    }
    let permitted = action.subject().is_none() || speaks(Effect::Grant).any(|rule| lists(&rule));
    if permitted { Ok(Effect::Grant) } else { Err(Denied::NoGrant) }
}

#[test]
fn the_index_decides_as_the_plain_reading_does() {
    let mut random = Random::new(42);
    let (mut outcomes, callers) = ([0; 4], ["a", "ab", "abc", "bc", "x"]);
    for _ in 0..2_500 {
        let model = generate(&mut random);
        let text = write(&model);
        let policy = Policy::parse(&text).unwrap();
        for _ in 0..20 {
            let name = random.pick(&callers);
            let caller = if random.below(4) == 0 { foreign(name) } else { agent(name) };
            let on = random.pick(&["s", "st", "t", "u"]);
            let subject = random.pick(&["x", "xy", "y", "*", "x*"]);
            let action = match random.below(5) {
                4 => Action::Protocol,
                kind => Action::on(Kind::ALL[kind], subject),
            };
            let ours = match policy.authorize(&caller, &server(on), action) {
                Ok(permit) => Ok(permit.rule().effect()),
                Err(Denied::DeniedBy { rule }) => Ok(rule.effect()),
                Err(other) => Err(other),
            };
            assert_eq!(ours, naive(&model, &caller, on, action), "{} {on} {action:?}\n{text}", caller.spiffe_id());
            outcomes[match ours {
                Ok(Effect::Grant) => 0,
                Ok(Effect::Deny) => 1,
                Err(Denied::NoGrant) => 2,
                Err(_) => 3,
            }] += 1;
        }
    }
    assert!(outcomes.iter().all(|&count| count > 1_000), "every outcome occurs: {outcomes:?}");
}

#[test]
fn a_deny_of_a_resource_holds_for_its_other_spellings_and_a_grant_does_not() {
    let rules = "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\nresources = [\"*\"]\n\
        [[grant]]\nwho = [\"b\"]\nservers = [\"s\"]\nresources = [\"file:///srv/x\"]\n\
        [[deny]]\nwho = [\"a\", \"b\"]\nservers = [\"s\"]\nresources = [\"file:///srv/secret/*\"]\n";
    let policy = policy(rules);
    let ask = |who, uri| policy.authorize(&agent(who), &server("s"), Action::Resource(uri)).map(|_| ());
    for uri in ["file:///srv/secret/k", "file:///srv//secret/k", "file:///srv/%73ecret/k", "File:///srv/secret//k"] {
        assert!(matches!(ask("a", uri), Err(Denied::DeniedBy { .. })), "{uri}");
        let explained = policy.explain(&agent("a"), &server("s"), Action::Resource(uri), Rights::NONE);
        assert_eq!(explained.because.unwrap().name.as_deref(), Some("file:///srv/secret/*"), "{uri}");
    }
    assert_eq!(ask("a", "file:///srv//public"), Ok(()));
    assert_eq!(ask("b", "file:///srv/x"), Ok(()));
    assert_eq!(ask("b", "file:///srv//x"), Err(Denied::NoGrant));
    assert!(matches!(ask("b", "file:///srv//secret/k"), Err(Denied::DeniedBy { .. })), "a deny first of all");
}

/// What a token gives, for tests.
fn held(words: &[&str]) -> Vec<Box<str>> {
    words.iter().map(|word| (*word).into()).collect()
}

#[test]
fn a_grant_with_scopes_and_roles_asks_for_all_of_the_ones_and_any_of_the_others() {
    let policy = policy(
        "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"post\"]\n\
         scopes = [\"w\", \"r\"]\nroles = [\"accountant\", \"admin\"]\n\
         [[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"read\"]\n",
    );
    let ask = |tool, scopes: &[&str], roles: &[&str]| {
        let (scopes, roles) = (held(scopes), held(roles));
        let rights = Rights::new(&scopes, &roles);
        policy
            .authorize_with(&agent("a"), &server("s"), Action::Tool(tool), rights)
            .map(|permit| permit.rule().number())
    };
    let rule = RuleId::new(Effect::Grant, 1, 3);
    let (scopes, role) = (Err(Denied::LacksScopes { rule }), Err(Denied::LacksRole { rule }));
    assert_eq!(ask("post", &["r", "w", "x"], &["admin"]), Ok(1));
    assert_eq!(ask("post", &["r"], &["admin"]), scopes);
    assert_eq!(ask("post", &["r", "w"], &["user"]), role);
    assert_eq!(ask("post", &["readwrite", "rw"], &["accountant"]), scopes, "whole words");
    assert_eq!(ask("post", &[], &[]), role);
    assert_eq!(ask("read", &[], &[]), Ok(2), "a grant that asks for nothing");
    let protocol = policy.authorize(&agent("a"), &server("s"), Action::Protocol);
    assert!(protocol.is_ok(), "who lacks scopes may learn which");
    assert!(!Denied::LacksScopes { rule }.lacks_grant(), "observing relaxes nothing of it");
    assert_eq!(policy.scopes_of(rule), ["r".into(), "w".into()]);
    assert_eq!(policy.scopes_on(&server("s")), ["r", "w"]);
    assert_eq!((policy.demands_token(&server("s")), policy.demands_token(&server("t"))), (Some(rule), None));
}

#[test]
fn a_deny_takes_away_what_scopes_give() {
    let policy = policy(
        "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"*\"]\nscopes = [\"w\"]\n\
         [[deny]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"drop\"]\n",
    );
    let scopes = held(&["w"]);
    let ask = |tool| policy.authorize_with(&agent("a"), &server("s"), Action::Tool(tool), Rights::new(&scopes, &[]));
    assert!(ask("post").is_ok());
    assert!(matches!(ask("drop"), Err(Denied::DeniedBy { .. })));
}

#[test]
fn a_grant_that_asks_for_scopes_does_not_hide_one_that_asks_for_none() {
    let policy = policy(
        "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"*\"]\nscopes = [\"w\"]\n\
         [[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"read\"]\n",
    );
    assert_eq!(policy.warnings(), []);
}
