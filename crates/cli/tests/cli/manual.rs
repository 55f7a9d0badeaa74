//! What `cargo xtask dist` ships for shells and `man`.

use std::process::Command;

use crate::run::{Place, countermark, skip};

#[test]
fn every_verb_has_a_page_and_the_shells_read_their_completions() {
    let place = Place::empty();
    let out = place.text("manual");
    countermark(["manual", "--out", &out]).done();
    let read = |name: &str| std::fs::read_to_string(place.path("manual").join(name)).unwrap();
    for verb in ["", "-ca", "-ca-serve", "-mint", "-join", "-rotate", "-ctl", "-guard", "-connect", "-policy-can"] {
        let page = read(&format!("man/countermark{verb}.1"));
        assert!(page.contains(".SH NAME") && page.contains("Example"), "{verb}: {page}");
    }
    assert!(read("man/countermark-guard.1").contains("upstream"));
    assert!(!place.path("manual/man/countermark-manual.1").exists(), "what is hidden stays so");
    assert!(read("completions/_countermark").starts_with("#compdef countermark"));
    assert!(read("completions/countermark.fish").contains("complete -c countermark"));
    let bash = read("completions/countermark.bash");
    assert!(bash.contains("--renew-from") && !bash.contains("manual"), "{bash}");
    match Command::new("bash").arg("-n").arg(place.path("manual/completions/countermark.bash")).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => skip(&format!("bash is not here: {error}")),
    }
}
