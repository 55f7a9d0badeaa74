use super::*;
use crate::testing::{HEAD, agent, server};

fn policy(rest: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{rest}")).unwrap()
}

fn warnings(rest: &str) -> Vec<String> {
    policy(rest).warnings().iter().map(ToString::to_string).collect()
}

fn rule(effect: &str, who: &str, servers: &str, tools: &str) -> String {
    let tools = if tools.is_empty() { String::new() } else { format!("tools = [{tools}]\n") };
    format!("[[{effect}]]\nwho = [{who}]\nservers = [{servers}]\n{tools}")
}

#[test]
fn an_ordinary_policy_has_none() {
    let text = [
        rule("grant", "'a'", "'s'", "'x', 'y'"),
        rule("grant", "'a', 'b'", "'s'", "'x'"),
        rule("grant", "'a'", "'t'", "'x'"),
        rule("deny", "'*'", "'*'", "'drop_*'"),
        rule("deny", "'b'", "'s'", ""),
    ];
    assert_eq!(warnings(&text.concat()), [""; 0]);
}

#[test]
fn tells_rules_that_never_decide() {
    let covered = [rule("grant", "'a*', 'b'", "'*'", "'x*'"), rule("grant", "'a-1', 'b'", "'s'", "'xy', 'x'")];
    assert_eq!(
        warnings(&covered.concat()),
        ["line 7, column 1: grant 2 (line 7) never decides: grant 1 (line 3) already says all of it"]
    );
    let denied = [rule("grant", "'a'", "'s'", "'drop_it'"), rule("deny", "'*'", "'*'", "'drop_*'")];
    assert_eq!(
        warnings(&denied.concat()),
        ["line 3, column 1: grant 1 (line 3) permits nothing: deny 1 (line 7) takes all of it away"]
    );
    let whole = [rule("grant", "'a'", "'s'", "'x'"), rule("deny", "'a'", "'s'", "")];
    assert_eq!(warnings(&whole.concat()).len(), 1);
    // A later grant never makes an earlier one useless, a narrower deny never a wider one.
    let order = [rule("grant", "'a'", "'s'", "'x'"), rule("grant", "'*'", "'s'", "'x'")];
    assert_eq!(warnings(&order.concat()), [""; 0]);
    let narrower =
        [rule("grant", "'a'", "'s'", "'x'"), rule("deny", "'a'", "'s'", "'y'"), rule("deny", "'a'", "'s'", "")];
    assert_eq!(warnings(&narrower.concat()).len(), 1);
}

#[test]
fn tells_what_nobody_uses() {
    let text = format!("[map]\n'dns:etl' = 'etl'\n[groups]\nidle = ['x']\n{}", rule("grant", "'a'", "'s'", "'x'"));
    assert_eq!(
        warnings(&text),
        ["line 4, column 1: \"etl\" is mapped, but no grant names it", "line 6, column 1: no rule names @idle",]
    );
    assert_eq!(warnings(""), ["line 1, column 1: the policy has no grant: nobody may call anything"]);
}

#[test]
fn tells_of_a_deny_that_foreign_agents_escape() {
    let foreign = "'spiffe://partner.example/agent/auditor'";
    let grant = rule("grant", foreign, "'s'", "'x', 'drop_it'");
    let deny = |who: &str, servers: &str| rule("deny", who, servers, "'drop_*'");
    assert_eq!(
        warnings(&[grant.clone(), deny("'*'", "'*'")].concat()),
        ["line 7, column 1: deny 1 (line 7) is for agents of the own trust domain only: \
         spiffe://partner.example/agent/auditor keeps what grant 1 (line 3) gives on the same servers"]
    );
    for harmless in [deny(&format!("'*', {foreign}"), "'*'"), deny("'*'", "'t'"), deny("'a'", "'*'")] {
        assert_eq!(warnings(&[grant.clone(), harmless].concat()), [""; 0]);
    }
}

#[test]
fn tells_a_server_and_agents_that_are_not_known() {
    let head = "[map]\n'dns:etl' = 'etl'\n[groups]\ng = ['b', 'c-*', 'etl']\n";
    let text = format!("{head}{}", rule("grant", "'a', '@g'", "'ledger'", "'x'"));
    let policy = policy(&text);
    assert_eq!(policy.warning_for(&server("ledger")), None);
    assert!(policy.warning_for(&server("ledgre")).unwrap().to_string().contains("\"ledgre\""));
    assert_eq!(policy.unknown_agents(|known| *known == agent("a") || *known == agent("b")), []);
    let unknown: Vec<String> = policy.unknown_agents(|_| false).iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        [
            "line 6, column 1: no certificate was ever made for the agent \"b\"",
            "line 7, column 1: no certificate was ever made for the agent \"a\"",
        ]
    );
}

#[test]
fn a_hundred_thousand_rules_are_looked_at_once() {
    let text: String = (0..20_000).map(|at| rule("grant", &format!("'agent-{at}'"), "'s'", "'x'")).collect();
    assert_eq!(warnings(&text), [""; 0]);
}
