//! `policy`: faults with their place, questions with their rule, drafts that hold.

use crate::run::{Place, command, countermark};

const HEAD: &str = "version = 1\ntrust_domain = \"agents.internal\"\n";

#[test]
fn every_fault_is_told_with_line_column_and_remedy() {
    let place = Place::empty();
    let grant = "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\n";
    let cases = [
        (format!("{HEAD}{grant}tools = [\"x\"\n"), "p.toml:", "TOML"),
        (format!("{HEAD}{grant}tols = [\"x\"]\ntools = [\"x\"]\n"), "p.toml:6:1:", "did you mean `tools`?"),
        (
            format!(
                "{HEAD}[[grant]]\nwho = [\"@fiance\"]\nservers = [\"s\"]\ntools = [\"x\"]\n[groups]\nfinance = [\"a\"]\n"
            ),
            "p.toml:4:",
            "did you mean @finance?",
        ),
        (format!("{HEAD}{grant}tools = [\"x\"]\nwhen = \"true\"\n"), "p.toml:7:", "not enforced"),
        (format!("{HEAD}{grant}tools = [\"x\"]\nscopes = [\"y z\"]\n"), "p.toml:7:", "is no scope"),
        (format!("{HEAD}{grant}"), "p.toml:3:", "no tools"),
        (String::new(), "p.toml:1:", "version"),
    ];
    for (text, at, said) in cases {
        let file = place.write("p.toml", &text);
        let ran = countermark(["policy", "check", &file]);
        assert_eq!(ran.code, Some(3), "{text}: {ran:?}");
        assert!(ran.out.contains(at) && ran.out.contains(said), "{at} {said}: {ran:?}");
        let json = countermark(["policy", "check", &file, "--json"]).json();
        assert_eq!(json["usable"], false);
        let error = &json["errors"][0];
        assert!(error["line"].is_u64() && error["column"].is_u64() && error["remedy"].is_string(), "{json}");
        // Who needs the policy to be right says where it is not, too.
        countermark(["policy", "can", "a", "x", "--policy", &file]).failed(3, &["p.toml:", "policy check"]);
    }
}

#[test]
fn several_faults_are_told_at_once() {
    let place = Place::empty();
    let file = place
        .write("p.toml", format!("{HEAD}one = 1\n[[grant]]\nwho = [\"@x\"]\nservers = [\"s\"]\ntools = [\"t\"]\n"));
    let json = countermark(["policy", "check", &file, "--json"]).json();
    assert_eq!(json["errors"].as_array().unwrap().len(), 2, "{json}");
}

#[test]
fn an_agent_that_was_never_minted_is_a_warning() {
    let place = Place::with_authority();
    place.mint("agent", "known-bot");
    let file = place.write(
        "p.toml",
        format!("{HEAD}[[grant]]\nwho = [\"known-bot\", \"unknown-bot\"]\nservers = [\"s\"]\ntools = [\"t\"]\n"),
    );
    let text = countermark(["policy", "check", &file, "--ca", &place.text("ca")]).done().out;
    assert!(text.contains("unknown-bot") && !text.contains("\"known-bot\"") && text.contains("usable"), "{text}");
}

#[test]
fn a_question_is_answered_by_its_rule_and_the_exit_code() {
    let place = Place::empty();
    let file = place.write(
        "p.toml",
        format!("{HEAD}[[grant]]\nwho = [\"a\"]\nservers = [\"s\", \"t\"]\ntools = [\"read_*\"]\nprompts = [\"p\"]\n[[deny]]\nwho = [\"*\"]\nservers = [\"t\"]\ntools = [\"*\"]\n"),
    );
    let can = |args: &[&str]| countermark(["policy", "can", "--policy", &file].iter().chain(args));
    assert!(can(&["a", "read_x", "--server", "s"]).done().out.contains("grant 1 (line 3)"));
    let denied = can(&["a", "read_x", "--server", "t"]);
    assert!(denied.code == Some(1) && denied.out.contains("deny 1 (line 8)"), "{denied:?}");
    assert_eq!(can(&["a", "write_x", "--server", "s"]).code, Some(1));
    assert_eq!(can(&["b", "read_x", "--server", "s"]).code, Some(1));
    can(&["a", "--prompt", "p", "--server", "s"]).done();
    assert_eq!(can(&["a", "--resource", "file:///x"]).code, Some(1));
    assert_eq!(can(&["a", "--method", "vendor/x"]).code, Some(1));
    let both = can(&["a", "read_x"]).done().out;
    assert_eq!(both.lines().count(), 2, "one line a server: {both}");
    let json = can(&["a", "read_x", "--json"]).done().json();
    assert_eq!((json[0]["permitted"].as_bool(), json[1]["permitted"].as_bool()), (Some(true), Some(false)));
    for wrong in [
        &["a"] as &[&str],
        &["a", "x", "--prompt", "p"],
        &["A B", "x"],
        &["spiffe://td/server/s", "x"],
        &["a", "x", "--server", "S S"],
    ] {
        assert_eq!(can(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_draft_permits_what_was_seen_and_nothing_else() {
    let place = Place::empty();
    let line = |agent: &str, name: &str, outcome: &str| {
        serde_json::json!({
            "time": "2026-11-23T00:00:00Z", "decision": "x", "agent": agent, "trust_domain": "agents.internal", "serial": "00",
            "server": "ledger", "method": "tools/call", "kind": "tool", "name": name, "outcome": outcome, "latency_us": 1,
        })
        .to_string()
    };
    let audit = [
        line("a", "read", "permit"),
        line("a", "wri*te\"", "would_deny"),
        line("a", "drop", "denied"),
        line("b", "bad", "refused"),
    ];
    let audit = place.write("audit.jsonl", audit.join("\n"));
    let draft = countermark(["policy", "suggest", &audit]).done().out;
    let policy = place.write("p.toml", &draft);
    countermark(["policy", "check", &policy]).done();
    let can = |agent: &str, tool: &str| countermark(["policy", "can", agent, tool, "--policy", &policy]).code;
    assert_eq!((can("a", "read"), can("a", "wri*te\"")), (Some(0), Some(0)), "{draft}");
    assert_eq!((can("a", "drop"), can("a", "wriXte\""), can("b", "bad")), (Some(1), Some(1), Some(1)), "{draft}");
}

#[test]
fn what_is_no_audit_is_named_with_its_line() {
    let place = Place::empty();
    let audit = place.write("audit.jsonl", "{\"half\": ");
    countermark(["policy", "suggest", &audit]).failed(3, &["audit.jsonl:1", "--audit FILE"]);
    let empty = place.write("empty.jsonl", "");
    countermark(["policy", "suggest", &empty]).failed(3, &["no call that passed"]);
    countermark(["policy", "suggest", &place.text("gone")]).failed(3, &["cannot read the audit"]);
}

#[test]
fn the_policy_of_the_readme_is_usable() {
    let place = Place::empty();
    let readme = readme();
    let policy = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = place.write("policy.toml", policy);
    let checked = countermark(["policy", "check", &file, "--json"]).done().json();
    assert_eq!(checked["warnings"].as_array().unwrap().len(), 0, "{checked}");
    let can =
        |tool: &str| countermark(["policy", "can", "billing-bot", tool, "--policy", &file, "--server", "ledger"]).code;
    assert_eq!((can("post_entry"), can("drop_ledger")), (Some(0), Some(1)));
}

#[test]
fn the_commands_of_the_readme_are_known() {
    let place = Place::empty();
    let readme = readme();
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ countermark "));
    let commands = lines.map(|line| line.split(" # ").next().unwrap_or(line));
    for line in commands.filter(|line| !line.starts_with("quickstart")) {
        let ran = crate::run::bounded(command().args(line.split_whitespace()).current_dir(place.dir.path()));
        assert!(ran.code == Some(3) || line.starts_with("inspect"), "{line}: {ran:?}");
    }
}

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap()
}
