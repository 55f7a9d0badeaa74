//! `quickstart`: every step holds, and what it says to try next works.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::run::{Place, Ran, command, countermark};

#[test]
fn once_every_step_holds_and_nothing_is_left() {
    let place = Place::empty();
    let ran =
        Ran::of(command().args(["quickstart", "--once"]).env("TMPDIR", place.dir.path()).output().unwrap()).done();
    assert!(ran.out.contains("All 8 steps held."), "{ran:?}");
    for evidence in [
        "CertificateRequired",
        "UnknownCA",
        "CertificateExpired",
        "CertificateRevoked",
        "0 failed",
        "not available to `intern-bot`",
    ] {
        assert!(ran.out.contains(evidence), "{evidence}: {ran:?}");
    }
    assert!(!ran.out.contains('\x1b'));
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let place = Place::empty();
    place.write("mine", "precious");
    countermark(["quickstart", "--once", "--dir", place.dir.path().to_str().unwrap()]).failed(3, &["is not empty"]);
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 1);
}

#[test]
fn it_stays_up_and_the_curl_line_works() {
    let place = Place::empty();
    let mut child =
        command().args(["quickstart", "--dir", &place.text("demo")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines.by_ref().take_while(|line| !line.contains("Ctrl-C ends")).collect();
    let told = told.join("\n");
    assert!(told.contains("try.py") && told.contains("mcpServers"), "{told}");
    assert!(!told.contains("./") && told.contains(&place.text("demo")), "absolute paths: {told}");
    let curl = format!("curl -sS{}", told.split_once("curl -sS").unwrap().1.split_once("\n\n").unwrap().0);
    let answered = Command::new("sh").args(["-c", &curl]).output().unwrap();
    if answered.status.code() == Some(127) {
        eprintln!("SKIPPED: curl is not installed");
    } else {
        let answered = Ran::of(answered).done();
        assert!(answered.out.contains("\"cents\":12500"), "{answered:?}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.path("demo/audit.jsonl").exists());
}
