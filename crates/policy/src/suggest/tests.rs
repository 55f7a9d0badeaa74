use super::*;
use crate::testing::{Random, agent, foreign, server, td};
use crate::{Action, Policy};

fn seen(agent: AgentId, on: &str, subject: Option<(Kind, &str)>) -> Observed {
    Observed { agent, server: server(on), subject: subject.map(|(kind, name)| (kind, name.to_owned())) }
}

fn own() -> TrustDomain {
    td("agents.internal")
}

#[test]
fn writes_what_a_person_would() {
    let tool = |name| Some((Kind::Tool, name));
    let text = suggest(
        &own(),
        [
            seen(agent("billing-bot"), "ledger", tool("read_balance")),
            seen(agent("billing-bot"), "ledger", tool("post_entry")),
            seen(agent("billing-bot"), "ledger", tool("read_balance")),
            seen(agent("audit-1"), "ledger", tool("read_balance")),
            seen(foreign("audit-2"), "ledger", tool("read_balance")),
            seen(agent("shy"), "ledger", None),
            seen(agent("billing-bot/sub/1"), "ledger", tool("x")),
        ],
    );
    let expected = r#"version = 1
trust_domain = "agents.internal"
# no rule can permit tool "x" to spiffe://agents.internal/agent/billing-bot/sub/1 on spiffe://agents.internal/server/ledger: sub-agents are granted nothing

[[grant]]
who = ["shy"]
servers = ["ledger"]
methods = ["ping"] # seen speaking the protocol only

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["post_entry", "read_balance"]

[[grant]]
who = ["audit-1", "spiffe://partner.example/agent/audit-2"]
servers = ["ledger"]
tools = ["read_balance"]
"#;
    assert_eq!(text, expected);
}

#[test]
fn permits_exactly_what_was_seen_whatever_the_names() {
    let parts = ["a", "b", "*", "\\", "\"", "'", "\n", "#", "]", "\u{e4}", "\u{202e}", "\0", "=", " "];
    let mut random = Random::new(3);
    let all: Vec<(AgentId, &str)> = vec![(agent("a"), "s"), (agent("b"), "s"), (agent("a"), "t"), (foreign("a"), "s")];
    for _ in 0..400 {
        let names: Vec<String> = (0..6).map(|_| format!("n{}", random.text(&parts, 4))).collect();
        let calls: Vec<(usize, Kind, usize)> = (0..random.below(8))
            .map(|_| (random.below(all.len()), Kind::ALL[random.below(4)], random.below(names.len())))
            .collect();
        let observed = calls.iter().map(|&(who, kind, name)| {
            let (agent, on) = &all[who];
            seen(agent.clone(), on, Some((kind, &names[name])))
        });
        let text = suggest(&own(), observed);
        let policy = Policy::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        for (who, (agent, on)) in all.iter().enumerate() {
            for kind in Kind::ALL {
                for (at, name) in names.iter().enumerate() {
                    let same = |&(w, k, n): &(usize, Kind, usize)| w == who && k == kind && names[n] == *name;
                    let expressible = kind != Kind::Resource || require_safe(name).is_ok();
                    let permitted = policy.authorize(agent, &server(on), Action::on(kind, name)).is_ok();
                    assert_eq!(permitted, calls.iter().any(same) && expressible, "{at} {name:?}\n{text}");
                }
            }
            let spoke = policy.could(agent, &server(on));
            assert!(spoke || calls.iter().all(|&(w, kind, _)| w != who || kind == Kind::Resource));
        }
    }
}

#[test]
fn what_cannot_be_permitted_stays_a_comment() {
    let theirs = ServerId::new(&td("partner.example"), "s").unwrap();
    let text = suggest(
        &own(),
        [
            Observed { agent: agent("a"), server: theirs, subject: None },
            seen(agent("a"), "s", Some((Kind::Tool, ""))),
            seen(agent("a"), "s", Some((Kind::Method, "tools/call"))),
            seen(agent("a"), "s", Some((Kind::Resource, "file:///../x\n[[grant]]"))),
        ],
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("# no rule can permit")).count(), 4, "{text}");
    let policy = Policy::parse(&text).unwrap();
    assert!(!policy.could(&agent("a"), &server("s")));
}
