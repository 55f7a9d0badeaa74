use super::*;
use crate::testing::{Random, naive_matches};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn matches_the_whole_string_only() {
    for (glob, matching, other) in [
        ("read_*", &["read_", "read_balance", "read_*"][..], &["read", "Read_x", "xread_y", "READ_X"][..]),
        ("*", &["", "a", "a/b", "\u{e4}\n"], &[]),
        ("**", &["", "a"], &[]),
        ("*_entry", &["_entry", "post_entry"], &["post_entry_", "entry"]),
        ("a*b*c", &["abc", "aXbXc", "abbc", "abcbc"], &["ab", "acb", "abcd"]),
        ("aa*aa", &["aaaa", "aaXaa"], &["aa", "aaa"]),
        ("*ab*ba*", &["abba", "xabxbax"], &["aba", "bab"]),
        ("exact", &["exact"], &["exac", "exactly", "Exact", ""]),
        ("\\*", &["*"], &["", "a", "\\*", "**"]),
        ("a\\**", &["a*", "a*b"], &["a", "ab"]),
        ("a\\\\*", &["a\\", "a\\b"], &["a", "a*"]),
        ("b?c", &["b?c"], &["bxc"]),
        ("[ab]", &["[ab]"], &["a", "b"]),
        ("b\u{fc}*er", &["b\u{fc}cher"], &["bucher"]),
    ] {
        for text in matching {
            assert!(pattern(glob).matches(text), "{glob} should match {text:?}");
        }
        for text in other {
            assert!(!pattern(glob).matches(text), "{glob} should not match {text:?}");
        }
    }
}

#[test]
fn refuses_a_lone_backslash() {
    for text in ["\\", "a\\b", "a\\", "\\n*", "\\\\\\"] {
        assert_eq!(Pattern::parse(text), Err(StrayBackslash), "{text}");
    }
}

#[test]
fn agrees_with_the_plain_definition() {
    let mut random = Random::new(7);
    let mut matches = 0;
    for _ in 0..60_000 {
        let glob = random.text(&["a", "b", "*", "*", "\\*", "\\\\", "\u{e4}"], 7);
        let text = random.text(&["a", "b", "a", "b", "*", "\\", "\u{e4}"], 8);
        let ours = pattern(&glob).matches(&text);
        assert_eq!(ours, naive_matches(&glob, &text), "{glob:?} on {text:?}");
        matches += usize::from(ours);
    }
    assert!(matches > 3_000, "the generator makes matches: {matches}");
}

#[test]
fn covers_is_never_wrong_and_displays_as_written() {
    let mut random = Random::new(11);
    let (mut covered, mut proofs) = (0, 0);
    for _ in 0..60_000 {
        let wide = pattern(&random.text(&["a", "b", "*", "\\*"], 4));
        let narrow = pattern(&random.text(&["a", "b", "*", "\\*"], 5));
        assert_eq!(pattern(&wide.to_string()), wide);
        assert!(narrow.matches(&narrow.sample()));
        if !wide.covers(&narrow) {
            continue;
        }
        covered += 1;
        for _ in 0..8 {
            let text = random.text(&["a", "b", "*"], 5);
            proofs += usize::from(narrow.matches(&text));
            assert!(!narrow.matches(&text) || wide.matches(&text), "{wide} does not cover {narrow}: {text:?}");
        }
    }
    assert!(covered > 2_000 && proofs > 2_000, "{covered} {proofs}");
}

#[test]
fn escaped_text_matches_itself_alone() {
    let mut random = Random::new(13);
    for _ in 0..5_000 {
        let text = random.text(&["a", "*", "\\", "\"", "\n"], 6);
        let other = random.text(&["a", "*", "\\", "\"", "\n"], 6);
        let escaped = pattern(&escape(&text));
        assert!(escaped.matches(&text));
        assert_eq!(escaped.matches(&other), text == other);
    }
}
