//! `guard` and `connect`: configuration, start, end.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    ops::{Deref, DerefMut},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::run::{Place, command, countermark};

/// A place with everything that a guard needs.
fn place() -> Place {
    let place = Place::with_authority();
    place.mint("server", "ledger");
    place.mint("agent", "billing-bot");
    place.policy();
    place
}

fn guard_args(place: &Place, listen: &str) -> Vec<String> {
    let (identity, policy) = (place.text("ledger"), place.text("policy.toml"));
    ["guard", "--listen", listen, "--upstream", "http://127.0.0.1:9/mcp", "--identity", &identity, "--policy", &policy]
        .map(str::to_owned)
        .to_vec()
}

/// A process that ends with its test, however that ends.
#[derive(Debug)]
pub(crate) struct Served(Child);

impl From<Child> for Served {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Deref for Served {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Served {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it and waits until its log says `said`; the line.
pub(crate) fn start(args: &[String], said: &str) -> (Served, String) {
    let child = command().args(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut child = Served::from(child);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(said));
    let line = line.unwrap_or_else(|| panic!("{said} was never said: {:?}", child.wait()));
    // What is logged later must not stop the child.
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

/// SIGTERM, and how it ended within ten seconds.
pub(crate) fn terminate(child: impl Into<Served>) -> Option<i32> {
    let mut child = child.into();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let begun = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None if begun.elapsed() > Duration::from_secs(10) => panic!("still running after SIGTERM"),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[test]
fn guard_says_its_whole_url_and_ends_on_sigterm() {
    let place = place();
    let (child, line) = start(&guard_args(&place, "127.0.0.1:0"), "guard serves");
    let url = line.split("url=").nth(1).unwrap().trim_matches('"').to_owned();
    assert!(url.starts_with("https://") && url.ends_with("/mcp"), "{line}");
    let port = url.trim_end_matches("/mcp").rsplit_once(':').unwrap().1.to_owned();
    let live = countermark(["inspect", &format!("127.0.0.1:{port}"), "--json"]).done().json();
    assert_eq!(live["certificates"][0]["identity"], "spiffe://agents.internal/server/ledger");
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn a_port_in_use_is_named() {
    let place = place();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    countermark(guard_args(&place, &address)).failed(3, &[&address, "already in use", "--listen"]);
    let mut args = guard_args(&place, "127.0.0.1:0");
    args.extend(["--admin".to_owned(), address.clone()]);
    countermark(args).failed(3, &[&address, "already in use", "--admin"]);
    let identity = place.text("billing-bot");
    countermark(["connect", "--to", "https://localhost:9/mcp", "--identity", &identity, "--listen", &address])
        .failed(3, &[&address, "already in use"]);
}

#[test]
fn a_policy_that_is_wrong_or_of_another_domain_starts_no_guard() {
    let place = place();
    place.write("policy.toml", "version = 1\ntrust_domain = \"agents.internal\"\n[[grant]]\nwho = [\"@x\"]\nservers = [\"ledger\"]\ntools = [\"t\"]\n");
    countermark(guard_args(&place, "127.0.0.1:0")).failed(3, &["policy.toml", "@x"]);
    place.write("policy.toml", "version = 1\ntrust_domain = \"elsewhere.internal\"\n");
    countermark(guard_args(&place, "127.0.0.1:0")).failed(3, &["elsewhere.internal", "agents.internal"]);
    std::fs::remove_file(place.path("policy.toml")).unwrap();
    countermark(guard_args(&place, "127.0.0.1:0")).failed(3, &["cannot read policy", "policy.toml"]);
}

#[test]
fn an_audit_that_cannot_be_written_starts_no_guard() {
    let place = place();
    let mut args = guard_args(&place, "127.0.0.1:0");
    args.extend(["--audit".to_owned(), place.text("nowhere/audit.jsonl")]);
    countermark(args).failed(3, &["nowhere/audit.jsonl"]);
}

#[test]
fn what_weakens_security_must_be_typed() {
    let place = place();
    let mut args = guard_args(&place, "127.0.0.1:0");
    let at = args.iter().position(|arg| arg.starts_with("http://")).unwrap();
    args[at] = "http://10.1.2.3/mcp".to_owned();
    countermark(&args).failed(2, &["plain text", "--danger-plaintext-upstream"]);
    args[at] = "gopher://x".to_owned();
    countermark(&args).failed(2, &["is no URL"]);
    let identity = place.text("billing-bot");
    for wrong in ["0.0.0.0:0", "[::]:0", "10.0.0.1:80", "localhost:1"] {
        let connect = ["connect", "--to", "https://localhost:9/mcp", "--identity", &identity, "--listen", wrong];
        countermark(connect).failed(2, &["--listen"]);
    }
    countermark(["connect", "--to", "http://localhost:9/mcp", "--identity", &identity])
        .failed(3, &["http://localhost:9/mcp"]);
}

#[test]
fn a_file_gives_the_flags_and_what_is_typed_wins() {
    let place = place();
    let config = format!(
        "listen = \"256.0.0.1:0\"\nupstream = \"http://127.0.0.1:9/mcp\"\nidentity = \"{}\"\npolicy = \"{}\"\nmax-body = 1024\nallow-host = [\"a\", \"b\"]\ntls12 = false\n",
        place.text("ledger"),
        place.text("policy.toml")
    );
    let file = place.write("guard.toml", config);
    let args = ["guard", "--config", &file, "--listen", "127.0.0.1:0"].map(str::to_owned);
    let (child, _) = start(&args, "guard serves");
    assert_eq!(terminate(child), Some(0));
    countermark(["guard", "--config", &file]).failed(2, &["256.0.0.1"]);
}

#[test]
fn a_file_with_an_unknown_key_is_wrong_usage_with_its_place() {
    let place = Place::empty();
    let file = place.write("guard.toml", "listen = \"127.0.0.1:0\"\npolcy = \"p\"\n");
    countermark(["guard", "--config", &file]).failed(2, &["guard.toml:2:1: unknown key `polcy`"]);
    let file = place.write("broken.toml", "listen = [\n");
    countermark(["guard", "--config", &file]).failed(2, &["broken.toml:"]);
    countermark(["connect", "--config", &place.text("gone.toml")]).failed(3, &["gone.toml"]);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let place = place();
    let mut args = guard_args(&place, "127.0.0.1:0");
    let at = args.iter().position(|arg| arg == "--upstream").unwrap();
    args.drain(at..at + 2);
    args.extend(["--", "no-such-program-here"].map(str::to_owned));
    countermark(args).failed(3, &["no program `no-such-program-here` on PATH"]);
}

#[test]
fn observing_is_said_loudly() {
    let place = place();
    let mut args = guard_args(&place, "127.0.0.1:0");
    args.push("--danger-observe".to_owned());
    let (child, _) = start(&args, "would_deny");
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn connect_ends_with_its_input() {
    let place = place();
    let identity = place.text("billing-bot");
    countermark(["connect", "--to", "https://localhost:9/mcp", "--identity", &identity]).done();
}

#[test]
fn connect_ends_on_sigterm_though_its_input_is_open() {
    let place = place();
    let identity = place.text("billing-bot");
    let args = ["connect", "--to", "https://localhost:9/mcp", "--identity", &identity];
    let mut child = Served::from(command().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let input = child.stdin.take();
    // A request that no server answers proves that it is up.
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let ping = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
    input.as_ref().unwrap().write_all(ping).unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.contains("\"error\""), "{answer}");
    assert_eq!(terminate(child), Some(0));
    drop(input);
}

#[test]
fn connect_on_loopback_says_who_is_the_agent_then_and_where_it_serves() {
    let place = place();
    let identity = place.text("billing-bot");
    let connect = |listen: &str| {
        ["connect", "--to", "https://localhost:9/mcp", "--identity", &identity, "--listen", listen].map(str::to_owned)
    };
    let (child, _) = start(&connect("127.0.0.1:0"), "every user of this machine");
    assert_eq!(terminate(child), Some(0));
    let (child, line) = start(&connect("127.0.0.1:0"), "connect serves");
    assert!(line.contains("http://127.0.0.1:"), "{line}");
    assert_eq!(terminate(child), Some(0));
    let (child, line) = start(&connect(&format!("unix:{}", place.text("agent.sock"))), "connect serves");
    assert!(line.contains("agent.sock"), "{line}");
    assert_eq!(terminate(child), Some(0));
}
