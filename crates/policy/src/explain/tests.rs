use super::*;
use crate::testing::{HEAD, agent, foreign, server};

const POLICY: &str = r#"
[groups]
finance = ["billing-bot", "audit-*"]

[[grant]]
who = ["crm-bot", "@finance", "spiffe://partner.example/agent/auditor"]
servers = ["ledger", "crm-*"]
tools = ["post_entry", "read_*"]

[[deny]]
who = ["audit-*"]
servers = ["crm-eu"]
"#;

fn policy() -> Policy {
    Policy::parse(&format!("{HEAD}{POLICY}")).unwrap()
}

#[test]
fn says_which_words_decide() {
    let explanation =
        policy().explain(&agent("audit-7"), &server("ledger"), Action::Tool("read_balance"), Rights::NONE);
    assert!(explanation.permitted);
    assert_eq!(explanation.rule.unwrap().to_string(), "grant 1 (line 7)");
    let because = explanation.because.unwrap();
    assert_eq!((because.who.as_str(), because.group.as_deref()), ("audit-*", Some("finance")));
    assert_eq!((because.servers.as_str(), because.name.as_deref()), ("ledger", Some("read_*")));
    let theirs =
        policy().explain(&foreign("auditor"), &server("crm-us"), Action::Protocol, Rights::NONE).because.unwrap();
    assert_eq!(theirs.who, "spiffe://partner.example/agent/auditor");
    assert_eq!((theirs.group, theirs.servers.as_str(), theirs.name), (None, "crm-*", None));
}

#[test]
fn says_why_not() {
    let denied = policy().explain(&agent("audit-7"), &server("crm-eu"), Action::Tool("read_balance"), Rights::NONE);
    assert!(!denied.permitted);
    assert_eq!(denied.denied.unwrap().to_string(), "denied by deny 1 (line 12)");
    assert_eq!(denied.because.unwrap().who, "audit-*");
    let missing = policy().explain(&agent("audit-7"), &server("ledger"), Action::Tool("drop_ledger"), Rights::NONE);
    assert_eq!((missing.denied, missing.rule, missing.because), (Some(Denied::NoGrant), None, None));
}

#[test]
fn lists_one_line_a_server() {
    let lines = |caller: &AgentId| -> Vec<(String, bool)> {
        let all = policy().explain_all(caller, Action::Tool("read_x"), Rights::NONE);
        all.into_iter().map(|line| (line.server, line.permitted)).collect()
    };
    let named = |permitted: [bool; 3]| {
        ["crm-eu", "ledger", "crm-*"].map(String::from).into_iter().zip(permitted).collect::<Vec<_>>()
    };
    assert_eq!(lines(&agent("audit-7")), named([false, true, true]));
    assert_eq!(lines(&agent("crm-bot")), named([true, true, true]));
    assert_eq!(lines(&agent("nobody")), named([false, false, false]));
    assert_eq!(lines(&agent("crm-bot/sub/1")), named([false, false, false]));
}
