use super::*;
use crate::Policy;
use crate::testing::{HEAD, Random};

/// `line:column message; remedy` of each fault of a policy that begins with [`HEAD`].
fn faults(rest: &str) -> Vec<String> {
    faults_of(&format!("{HEAD}{rest}"))
}

fn faults_of(text: &str) -> Vec<String> {
    let errors = Policy::parse(text).map(drop).unwrap_err();
    errors.iter().map(|e| format!("{}:{} {}; {}", e.line, e.column, e.message(), e.remedy())).collect()
}

const GRANT: &str = "[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\n";

/// Each policy has a fault that begins so.
fn each_begins(cases: &[(&str, &str)]) {
    for (rest, expected) in cases {
        let found = faults(rest);
        assert!(
            found.iter().any(|fault| fault.starts_with(expected)),
            "wanted {expected}\nfound {found:#?}\nin {rest}"
        );
    }
}

#[test]
fn each_fault_of_a_rule_has_its_place_and_remedy() {
    each_begins(&[
        ("[[grnat]]\n", "3:3 unknown key `grnat` in the policy file; did you mean `grant`?"),
        ("allow_all = true\n", "3:1 unknown key `allow_all` in the policy file; known keys: version"),
        (
            &format!("{GRANT}tool = [\"x\"]\ntools = [\"y\"]"),
            "6:1 unknown key `tool` in a grant; did you mean `tools`?",
        ),
        (
            &format!("{GRANT}tools = \"x\"\n"),
            "6:9 `tools` is a text, but a list of texts is wanted; write tools = [\"…\"]",
        ),
        (&format!("{GRANT}tools = [\"x\", 1]\n"), "6:15 `tools` is an integer, but a list of texts is wanted"),
        (&format!("{GRANT}tools = []\n"), "6:9 `tools` is empty; list at least one name"),
        (&format!("{GRANT}tools = [\"\"]\n"), "6:10 `tools` is empty"),
        (&format!("{GRANT}tools = ['a\\b']\n"), "6:10 \"a\\\\b\" has a lone backslash in it; write \\\\"),
        (GRANT, "3:1 the grant lists no tools, prompts, resources or methods"),
        (&format!("{GRANT}tools = [\"x\"]\nwhen = \"true\"\n"), "7:1 `when` is not enforced by this version"),
        (&format!("{GRANT}tools = [\"x\"]\nscopes = [\"a b\"]\n"), "7:11 \"a b\" is no scope"),
        (&format!("{GRANT}tools = [\"x\"]\nscopes = []\n"), "7:10 `scopes` is empty"),
        (
            "[[deny]]\nwho = [\"a\"]\nservers = [\"s\"]\nroles = [\"x\"]\n",
            "6:1 `roles` does not belong in a deny, which is for everybody whom it names; write it in the grant",
        ),
        (&format!("{GRANT}tools = [\"x\"]\nroles = [\"\"]\n"), "7:10 `roles` is empty"),
        (&format!("{GRANT}tools = [\"x\"]\nwhen = 1\n"), "7:8 `when` is an integer, but a text is wanted"),
        (
            &format!("{GRANT}resources = [\"file:///a/../*\"]\n"),
            "6:14 \"file:///a/../*\" can never match: it has a segment",
        ),
        (&format!("{GRANT}resources = [\"file:///%2e*\"]\n"), "6:14 \"file:///%2e*\" can never match: it has a dot"),
        (
            "[[grant]]\nservers = [\"s\"]\ntools = [\"x\"]\n",
            "3:1 `who` is missing from a grant; add who = [\"agent-name\"]",
        ),
        ("[[grant]]\nwho = [\"a\"]\ntools = [\"x\"]\n", "3:1 `servers` is missing from a grant"),
        ("[[deny]]\nservers = [\"s\"]\n", "3:1 `who` is missing from a deny"),
        ("[[deny]]\nwho = []\nservers = [\"s\"]\n", "4:7 `who` is empty"),
        ("[[deny]]\nwho = [\"*\"]\nservers = [\"s\"]\ntools = []\n", "6:9 `tools` is empty"),
        ("[[deny]]\nwho = [\"*\"]\nservers = [\"s\"]\nwhen = \"x\"\n", "6:1 `when` is not enforced"),
        ("[grant]\nwho = [\"a\"]\n", "3:1 `grant` is a table, but a list of tables is wanted"),
        ("grant = [1]\n", "3:10 `grant` is an integer, but a list of tables is wanted"),
    ]);
}

#[test]
fn each_fault_of_a_table_has_its_place_and_remedy() {
    each_begins(&[
        ("[map]\n\"etl\" = \"x\"\n", "4:1 \"etl\" does not say what kind of name it is"),
        (
            "[map]\n\"spiffe://agents.internal/agent/x\" = \"x\"\n",
            "4:1 spiffe://agents.internal/agent/x says by itself",
        ),
        (
            "[map]\n\"spiffe://agents.internal/server/x\" = \"x\"\n",
            "4:1 spiffe://agents.internal/server/x says by itself",
        ),
        ("[map]\n\"spiffe://other/x\" = \"x\"\n", "4:1 spiffe://other/x verifies under the bundle of other"),
        (
            "[map]\n\"dns:a\" = { agent = \"x\", bundel = \"y\" }\n",
            "4:26 unknown key `bundel` in an entry of [map]; did you mean `bundle`?",
        ),
        ("[map]\n\"dns:a\" = { bundle = \"y\" }\n", "4:11 `agent` is missing from an entry of [map]"),
        ("[map]\n\"dns:a\" = { agent = \"x\", bundle = \"Y\" }\n", "4:35 \"Y\" is no trust domain"),
        ("[map]\n\"dns:a\" = 1\n", "4:11 `map` is an integer"),
        ("map = 1\n", "3:7 `map` is an integer, but a table is wanted"),
        ("[revocation]\nx = \"off\"\n", "4:5 \"off\" is no revocation mode; write \"required\" or \"danger_none\""),
        ("[revocation]\n\"X y\" = \"required\"\n", "4:1 \"X y\" is no trust domain"),
        ("[groups]\nfinance = [\"@finanse\"]\n", "4:12 @finanse is not defined; did you mean @finance?"),
        ("[groups]\n\"a b\" = [\"x\"]\n", "4:1 \"a b\" is no name for a group"),
        ("[groups]\na = []\n", "4:5 `a` is empty"),
        ("[groups]\na = \"x\"\n", "4:5 `a` is a text, but a list of texts is wanted"),
        ("[groups]\na = [\"@a\"]\n", "4:1 @a contains itself"),
    ]);
}

#[test]
fn methods_that_something_else_decides_are_no_methods() {
    let rule = |effect: &str, method: &str| {
        format!("{HEAD}[[{effect}]]\nwho = ['*']\nservers = ['s']\nmethods = ['{method}']\n")
    };
    for (effect, method, expected) in [
        ("grant", "tools/call", "6:12 `tools/call` is never decided by `methods`; list the names under `tools`"),
        ("deny", "tools/call", "6:12 `tools/call` is never decided by `methods`; list the names under `tools`"),
        ("deny", "tools/*", "6:12 `tools/*` is never decided by `methods`; list the names under `tools`"),
        ("deny", "prompts/get", "6:12 `prompts/get` is never decided by `methods`; list the names under `prompts`"),
        ("deny", "*/read", "6:12 `*/read` is never decided by `methods`; list the names under `resources`"),
        ("deny", "initialize", "6:12 `initialize` is never decided by `methods`; remove it"),
    ] {
        let found = faults_of(&rule(effect, method));
        assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{found:#?}");
    }
    for (effect, method) in [("grant", "*"), ("deny", "*"), ("grant", "ping"), ("deny", "vendor/*")] {
        assert!(Policy::parse(&rule(effect, method)).is_ok(), "{effect} {method}");
    }
}

#[test]
fn each_odd_name_has_its_own_fault() {
    for (who, expected) in [
        ("@finance", "@finance is not defined; define it"),
        ("dns:etl.corp", "\"dns:etl.corp\" is a name of a certificate, not of an agent; map it"),
        ("a/sub/b", "\"a/sub/b\" names a sub-agent"),
        ("spiffe://partner/agent/a/sub/b", "\"spiffe://partner/agent/a/sub/b\" names a sub-agent"),
        ("spiffe://partner/agent/*", "\"spiffe://partner/agent/*\" has a '*' in it"),
        ("spiffe://partner/server/x", "\"spiffe://partner/server/x\" is no agent's SPIFFE ID"),
        ("spiffe://Partner/agent/x", "\"spiffe://Partner/agent/x\" is no SPIFFE ID"),
        ("billing bot", "\"billing bot\" can be no agent's name: ' ' is not allowed: letters, digits"),
        ("b\u{456}lling-*", "\"b\u{456}lling-*\" can never match: such a name has no '\u{456}' in it"),
        ("..", "\"..\" can be no agent's name"),
    ] {
        let found = faults(&format!("[[grant]]\nwho = ['{who}']\nservers = [\"s\"]\ntools = [\"x\"]\n"));
        assert!(matches!(&found[..], [one] if one.starts_with(&format!("4:8 {expected}"))), "{who}: {found:#?}");
    }
    for (servers, expected) in [
        ("a/b", "\"a/b\" can be no server's name: it has slashes"),
        ("@finance", "\"@finance\" can be no server's name"),
        ("spiffe://partner/server/x", "\"spiffe://partner/server/x\" is no server of this trust domain"),
        ("spiffe://agents.internal/agent/x", "\"spiffe://agents.internal/agent/x\" is no server of this"),
        ("led ger*", "\"led ger*\" can never match"),
    ] {
        let found = faults(&format!("[[grant]]\nwho = [\"a\"]\nservers = ['{servers}']\ntools = [\"x\"]\n"));
        assert!(matches!(&found[..], [one] if one.starts_with(&format!("5:12 {expected}"))), "{servers}: {found:#?}");
    }
}

#[test]
fn the_head_is_demanded() {
    let td = "trust_domain = \"a\"\n";
    for (text, expected) in [
        (String::new(), "1:1 `version` is missing from the policy file; add version = 1"),
        (String::from("version = 1\n"), "1:1 `trust_domain` is missing from the policy file; add trust_domain ="),
        (format!("version = 2\n{td}"), "1:11 version 2 of the policy format is not known here; write version = 1"),
        (format!("version = \"1\"\n{td}"), "1:11 `version` is a text, but an integer is wanted"),
        (format!("version = 1.0\n{td}"), "1:11 `version` is a float"),
        (String::from("version = 1\ntrust_domain = \"A\"\n"), "2:16 \"A\" is no trust domain"),
        (String::from("version = 1\ntrust_domain = \"spiffe://a\"\n"), "2:16 \"spiffe://a\" is no trust domain"),
        (String::from("version = 1\nversion = 1\n"), "2:1 not TOML: duplicate key"),
        (String::from("version = 1\n[[grant]\n"), "2:9 not TOML:"),
    ] {
        let found = faults_of(&text);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "wanted {expected}\nfound {found:#?}");
    }
}

#[test]
fn all_faults_are_told_at_once_in_order() {
    let found = faults("[[grant]]\nwho = [\"@x\"]\nservers = [\"a b\"]\ntolls = [\"t\"]\n[[deny]]\nwhom = [\"*\"]\n");
    let places: Vec<&str> = found.iter().filter_map(|fault| fault.split(' ').next()).collect();
    assert_eq!(places, ["3:1", "4:8", "5:12", "6:1", "7:1", "7:1", "8:1"], "{found:#?}");
}

#[test]
fn groups_nest_but_not_in_circles() {
    let good = "[groups]\na = [\"@b\", \"x\"]\nb = [\"@c\"]\nc = [\"y-*\", \"spiffe://partner/agent/z\"]\n";
    let document = Document::parse(&format!("{HEAD}{good}")).map_err(|e| e.to_string()).ok().unwrap();
    assert_eq!((document.groups[0].members.own.len(), document.groups[0].members.foreign.len()), (2, 1));
    assert!(document.groups[1].used && !document.groups[0].used);
    let circle = faults("[groups]\na = [\"@b\"]\nb = [\"@c\"]\nc = [\"@a\"]\nd = [\"@a\"]\ne = [\"x\"]\n");
    assert_eq!(circle.len(), 4, "{circle:#?}");
}

#[test]
fn errors_serialize_for_machines() {
    let errors = Policy::parse("version = 2\ntrust_domain = \"a\"\n").map(drop).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "line 1, column 11: version 2 of the policy format is not known here; write version = 1"
    );
    assert_eq!(errors.into_iter().count(), 1);
}

#[test]
fn garbage_is_refused_and_never_panics() {
    let good = format!(
        "{HEAD}[map]\n'dns:a' = {{ agent = 'b' }}\n[groups]\ng = ['x*']\n[[grant]]\nwho = ['@g']\nservers = ['s']\ntools = ['\\*']\n"
    );
    let mut random = Random::new(5);
    let parts = ["\"", "'", "[", "]", "{", "}", "=", "\n", "\\", "*", "@", "\u{0}", "\u{feff}", "\u{e4}", "1", "."];
    let mut refused = 0;
    for _ in 0..20_000 {
        let (from, to) = (random.below(good.len()), random.below(good.len()));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 6));
        let text = format!("{}{}{}", &good[..from], random.text(&parts, 3), &good[to..]);
        if let Err(errors) = Policy::parse(&text) {
            refused += 1;
            let lines = u32::try_from(text.lines().count()).unwrap() + 1;
            assert!(errors.iter().count() > 0 && errors.iter().all(|e| (1..=lines).contains(&e.line) && e.column > 0));
            assert!(!errors.to_string().is_empty());
        }
    }
    assert!(refused > 10_000, "{refused}");
    for bomb in ["[", "{a=", "a.", "[[grant]]\n"] {
        let _ = Policy::parse(&format!("{HEAD}x = {}", bomb.repeat(50_000)));
        let _ = Policy::parse(&format!("{HEAD}{}", bomb.repeat(2_000)));
    }
}

#[test]
fn windows_line_ends_and_marks_do_not_move_places() {
    let found = faults_of("version = 1\r\ntrust_domain = \"agents.internal\"\r\n\r\nx = 1\r\n");
    assert!(found[0].starts_with("4:1 unknown key `x`"), "{found:#?}");
}

#[test]
fn groups_that_name_each_other_again_and_again_do_not_multiply() {
    let mut text = String::from("version = 1\ntrust_domain = \"a\"\n[groups]\ng0 = [\"x\"]\n");
    for level in 1..=60 {
        let below = level - 1;
        text += &format!("g{level} = [\"@g{below}\", \"@g{below}\"]\n");
    }
    text += "[[grant]]\nwho = [\"@g60\"]\nservers = [\"s\"]\ntools = [\"t\"]\n";
    let document = Document::parse(&text).unwrap();
    assert!(document.groups.iter().all(|group| group.members.own.len() == 1));
}
