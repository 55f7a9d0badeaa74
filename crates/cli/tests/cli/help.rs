//! Help, usage and exit codes.

use crate::run::countermark;

const VERBS: [&[&str]; 22] = [
    &[],
    &["quickstart"],
    &["ca"],
    &["ca", "init"],
    &["ca", "list"],
    &["ca", "revoke"],
    &["ca", "crl"],
    &["ca", "bundle"],
    &["ca", "renew"],
    &["ca", "invite"],
    &["ca", "serve"],
    &["mint"],
    &["join"],
    &["rotate"],
    &["ctl"],
    &["inspect"],
    &["doctor"],
    &["guard"],
    &["connect"],
    &["policy"],
    &["policy", "check"],
    &["policy", "can"],
];

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in VERBS.iter().chain(&[&["policy", "suggest"] as &[&str]]) {
        let help = countermark(verb.iter().chain(&["--help"])).done().out;
        assert!(help.contains("Example"), "{verb:?}: {help}");
        assert!(help.contains("countermark"), "{verb:?}: {help}");
        assert!(!help.contains('\x1b'), "no colour where there is no terminal: {verb:?}");
    }
}

#[test]
fn every_example_of_one_line_parses() {
    for verb in VERBS {
        let help = countermark(verb.iter().chain(&["--help"])).done().out;
        let examples = help.split_once("Example").unwrap().1;
        let whole = |line: &&str| line.starts_with("countermark ") && !line.ends_with('\\') && !line.contains('>');
        for line in examples.lines().map(str::trim).filter(whole) {
            let words = line.split_whitespace().skip(1).filter(|word| *word != "--once");
            // Unparsable words would be wrong usage; what the words name does not exist.
            if line.contains("quickstart") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let ran = crate::run::Ran::of(crate::run::command().args(words).current_dir(dir.path()).output().unwrap());
            assert_ne!(ran.code, Some(2), "{line}: {ran:?}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for wrong in
        [&["frobnicate"] as &[&str], &["ca"], &["mint"], &["mint", "robot", "x"], &["policy", "can"], &["guard"], &[]]
    {
        let ran = countermark(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {ran:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(countermark(["--version"]).done().out.trim(), format!("countermark {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_secret_is_never_an_argument() {
    for verb in VERBS {
        let help = countermark(verb.iter().chain(&["--help"])).done().out;
        for flag in ["--passphrase ", "--passphrase=", "--key ", "--password"] {
            assert!(!help.contains(flag), "{verb:?} takes {flag}");
        }
    }
}
