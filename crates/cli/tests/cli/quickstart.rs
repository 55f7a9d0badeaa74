//! `quickstart`: every step holds, and what it says to try next works.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::run::{Place, Ran, command, countermark};

#[test]
fn once_every_step_holds_and_nothing_is_left() {
    let place = Place::empty();
    let ran =
        Ran::of(command().args(["quickstart", "--once"]).env("TMPDIR", place.dir.path()).output().unwrap()).done();
    assert!(ran.out.contains("All 13 steps held."), "{ran:?}");
    for evidence in [
        "CertificateRequired",
        "UnknownCA",
        "CertificateExpired",
        "CertificateRevoked",
        "guard ended the connection",
        "guard ended the stream",
        "0 failed",
        "not available to `intern-bot`",
    ] {
        assert!(ran.out.contains(evidence), "{evidence}: {ran:?}");
    }
    assert!(!ran.out.contains('\x1b'));
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
}

#[test]
fn the_audit_that_guard_really_writes_suggests_what_it_permitted() {
    let place = Place::empty();
    let demo = place.text("demo");
    countermark(["quickstart", "--once", "--dir", &demo]).done();
    let draft = countermark(["policy", "suggest", &format!("{demo}/audit.jsonl")]).done().out;
    let policy = place.write("suggested.toml", &draft);
    let can = |agent: &str, tool: &str| countermark(["policy", "can", agent, tool, "--policy", &policy]).code;
    assert_eq!((can("billing-bot", "post_entry"), can("intern-bot", "post_entry")), (Some(0), Some(1)), "{draft}");
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
        crate::run::skip("curl is not installed");
    } else {
        let answered = Ran::of(answered).done();
        assert!(answered.out.contains("\"cents\":12600"), "{answered:?}");
    }
    what_doctor_says(&place, &told);
    a_changed_policy_counts_at_once(&place, &told);
    connect_carries_a_call(&place, &told);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.path("demo/audit.jsonl").exists());
}

/// Of the agent that may call, of the one that was revoked, and of one that is granted nothing.
fn what_doctor_says(place: &Place, told: &str) {
    let doctor = |agent: &str, more: &[&str]| {
        let identity = place.text(&format!("demo/id/{agent}"));
        countermark(["doctor", url(told), "--identity", &identity, "--json"].iter().chain(more))
    };
    let policy = place.text("demo/policy.toml");
    let steps = doctor("billing-bot", &["--policy", &policy]).done().json();
    let steps = steps.as_array().unwrap().clone();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    for name in ["identity", "expiry", "CRL", "reach", "TLS", "server chain", "server name", "clock", "call", "grant"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(steps.iter().all(|step| step["state"] == "passed"), "{steps:?}");
    let nobody = "version = 1\ntrust_domain = \"quickstart.internal\"\n";
    let nobody = place.write("nobody.toml", nobody);
    assert_eq!(doctor("billing-bot", &["--policy", &nobody]).code, Some(1));
    let revoked = doctor("intern-bot", &[]);
    assert_eq!(revoked.code, Some(3), "{revoked:?}");
    let call = revoked.json().as_array().unwrap().iter().find(|step| step["step"] == "call").unwrap().clone();
    assert!(call["finding"].as_str().unwrap().contains("revoked") && call["remedy"].is_string(), "{call}");
    let wrong = doctor("billing-bot", &["--server", "payroll"]);
    assert!(wrong.code == Some(3) && wrong.out.contains("another server answers"), "{wrong:?}");
}

/// Of the policy file that is said to count at once; it is put back.
fn a_changed_policy_counts_at_once(place: &Place, told: &str) {
    let policy = place.path("demo/policy.toml");
    let before = std::fs::read_to_string(&policy).unwrap();
    let identity = place.text("demo/id/billing-bot");
    let answers = |wanted: i32| {
        let begun = Instant::now();
        loop {
            let ran = countermark(["doctor", url(told), "--identity", &identity, "--json"]);
            if ran.code == Some(wanted) {
                return ran;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{ran:?}");
        }
    };
    std::fs::write(&policy, before.split("[[grant]]").next().unwrap()).unwrap();
    let denied = answers(1).json();
    let call = denied.as_array().unwrap().iter().find(|step| step["step"] == "call").unwrap().clone();
    assert_eq!(call["state"], "denied", "{call}");
    std::fs::write(&policy, before).unwrap();
    answers(0);
}

/// A host's stdio through connect: permitted and denied.
fn connect_carries_a_call(place: &Place, told: &str) {
    let identity = place.text("demo/id/billing-bot");
    let args = ["connect", "--to", url(told), "--identity", &identity, "--server", "ledger"];
    let mut child = command().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    writeln!(input, "{initialize}").unwrap();
    assert!(answers.next().unwrap().contains("\"protocolVersion\":\"2025-11-25\""));
    writeln!(input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).unwrap();
    for (tool, said) in [("read_balance", "12600"), ("drop_ledger", "not available to `billing-bot`")] {
        writeln!(
            input,
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
        )
        .unwrap();
        let answer = answers.next().unwrap();
        assert!(answer.contains(said), "{tool}: {answer}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn url(told: &str) -> &str {
    let from = told.find("https://localhost:").unwrap();
    told[from..].split_inclusive("/mcp").next().unwrap()
}
