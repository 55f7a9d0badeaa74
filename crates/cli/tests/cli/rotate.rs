//! `join`, `rotate` and `ctl`, with `ca serve` and with a local directory, as processes.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    run::{Place, Ran, command, countermark},
    serve::{Served, start, terminate},
    service::serving,
};

const BOT: &str = "spiffe://agents.internal/agent/billing-bot";

/// A configuration with one credential of a local authority.
fn local(place: &Place, more: &str) -> String {
    place.write(
        "rotate.toml",
        format!(
            "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n[[credential]]\nname = \"bot\"\n\
             identity = \"{BOT}\"\nissuer = \"ca\"\ndirectory = \"bot\"\n{more}"
        ),
    )
}

fn remote(place: &Place, url: &str, more: &str) -> String {
    place.write(
        "rotate.toml",
        format!(
            "version = 1\n[[issuer]]\nname = \"authority\"\nkind = \"authority\"\nurl = \"{url}\"\n[[credential]]\nname = \"bot\"\n\
             identity = \"{BOT}\"\nissuer = \"authority\"\ndirectory = \"bot\"\n{more}"
        ),
    )
}

/// A rotation that runs.
fn rotating(config: &str, flags: &[&str]) -> (Served, String) {
    let args: Vec<String> = ["rotate", "--config", config].iter().chain(flags).map(|word| (*word).to_owned()).collect();
    start(&args, "rotate runs")
}

fn status(config: &str) -> Value {
    let ran = countermark(["ctl", "status", "--json", "--config", config]);
    ran.json()["credentials"][0].clone()
}

/// Asks for the status until it is so, or long enough.
fn until(config: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = status(config);
        if so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn invited(place: &Place) -> String {
    let invite = place.text("bot.invite");
    let _ = std::fs::remove_file(&invite);
    countermark(["ca", "invite", "agent", "billing-bot", "--ca", &place.text("ca"), "--out", &invite]).done();
    invite
}

fn join(invite: &str, out: &str) -> Ran {
    countermark(["join", "--invite", invite, "--out", out, "--json"])
}

#[test]
fn an_invite_enrols_once_and_the_credential_renews_over_the_wire() {
    let place = Place::with_authority();
    let (authority, url) = serving(&place, &[]);
    let (invite, dir) = (invited(&place), place.text("bot"));
    assert_eq!(join(&invite, &dir).done().json()["identity"], BOT);
    join(&invite, &place.text("thief")).failed(3, &["the authority gave no certificate", "ask for another"]);
    let config =
        remote(&place, &url, "probe = { address = \"127.0.0.1:9\" }\n[[credential.hook]]\ntouch = \"stamp\"\n");
    let (child, _) = rotating(&config, &[]);
    countermark(["ctl", "renew", "bot", "--config", &config]).done();
    let renewed = until(&config, "renewed", |status| status["generation"] == 2 && !status["failures"].is_null());
    let probe = until(&config, "probed", |status| status["duties"][1]["failures"] != 0);
    assert!(place.path("stamp").exists());
    assert_eq!(probe["last_success"], Value::Null, "nobody serves it: {renewed}");
    let why = countermark(["ctl", "why", "bot", "--config", &config]).done().out;
    assert!(why.contains("it is renewed at") && why.contains("probe is not done"), "{why}");
    countermark(["ctl", "renew", "nobody", "--config", &config]).failed(3, &["no credential `nobody`", "ctl status"]);
    assert_eq!(terminate(authority), Some(0));
    countermark(["ctl", "renew", "bot", "--config", &config]).done();
    let down = until(&config, "failed", |status| status["failures"] != 0);
    assert_eq!((&down["usable"], &down["failure"]["step"]), (&Value::Bool(true), &"issue".into()));
    assert_eq!(terminate(child), Some(0));
    countermark(["ctl", "status", "--config", &config]).failed(3, &["no rotation answers", "countermark rotate"]);
}

#[test]
fn a_wrong_pin_sends_nothing() {
    let place = Place::with_authority();
    let (authority, _) = serving(&place, &[]);
    let invite = invited(&place);
    let text = std::fs::read_to_string(&invite).unwrap();
    let at = text.find("root_sha256 = \"").unwrap() + 15;
    let pin = format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..]);
    let forged = place.write("forged.invite", pin);
    join(&forged, &place.text("bot")).failed(3, &["none of the authority's roots", "nothing secret was sent"]);
    join(&invite, &place.text("bot")).done();
    assert_eq!(terminate(authority), Some(0));
}

#[test]
fn once_makes_what_is_missing_and_leaves_what_is_fresh() {
    let place = Place::with_authority();
    place.write("password", "hunter2\n");
    let more = "combined = true\nkeystore-password-file = \"password\"\nprojected = \"volume\"\nmode = \"0640\"\n\
                secret = { path = \"secret.json\", name = \"bot\" }\n";
    let config = local(&place, more);
    let once = ["rotate", "--once", "--json", "--config", &config];
    let status = countermark(once).done().json();
    assert_eq!((&status["ready"], &status["credentials"][0]["generation"]), (&true.into(), &1.into()));
    assert_eq!(countermark(once).done().json()["credentials"][0]["serial"], status["credentials"][0]["serial"]);
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    for name in ["bot/credential-bundle.pem", "bot/combined.pem", "bot/keystore.p12", "volume/tls.key", "secret.json"] {
        assert_eq!(mode(name), 0o640, "{name}");
    }
    assert_eq!(mode("bot"), 0o750);
    let manifest: Value = serde_json::from_slice(&std::fs::read(place.path("secret.json")).unwrap()).unwrap();
    assert_eq!((&manifest["kind"], &manifest["type"]), (&"Secret".into(), &"kubernetes.io/tls".into()));
    assert!(manifest["data"]["tls.key"].is_string() && manifest["data"]["ca.crt"].is_string());
    let combined = std::fs::read_to_string(place.path("bot/combined.pem")).unwrap();
    assert!(combined.starts_with("-----BEGIN CERTIFICATE") && combined.contains("PRIVATE KEY"));
    countermark(["inspect", &place.text("volume")]).done();
}

#[test]
fn openssl_opens_the_keystore() {
    let place = Place::with_authority();
    place.write("password", "hunter2\n");
    let config = local(&place, "keystore-password-file = \"password\"\n");
    countermark(["rotate", "--once", "--config", &config]).done();
    let store = place.text("bot/keystore.p12");
    let open = |password: &str| {
        crate::run::program("openssl", ["pkcs12", "-in", &store, "-passin", &format!("pass:{password}"), "-nodes"])
    };
    let Some(ran) = open("hunter2") else { return };
    let said = ran.done().out;
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 3, "leaf, intermediate, root");
    assert!(said.contains("PRIVATE KEY") && said.contains("countermark"));
    assert_ne!(open("wrong").unwrap().code, Some(0));
}

#[test]
fn a_hook_that_fails_fails_the_run_and_not_the_delivery() {
    let place = Place::with_authority();
    let config = local(&place, "[[credential.hook]]\nrun = [\"/bin/false\"]\n");
    let ran = countermark(["rotate", "--once", "--config", &config]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.out.contains("run /bin/false"), "{ran:?}");
    countermark(["inspect", &place.text("bot")]).done();
}

#[test]
fn the_configuration_is_refused_as_a_whole_with_line_and_column() {
    let place = Place::with_authority();
    let config = local(&place, "mode = \"0644\"\n");
    countermark(["rotate", "--config", &config]).failed(2, &["rotate.toml:11:8", "0644", "nothing was started"]);
    assert!(!place.path("bot").exists());
    countermark(["rotate", "--config", &place.text("missing.toml")]).failed(3, &["missing.toml", "--help"]);
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_the_rest() {
    let place = Place::with_authority();
    let config = local(&place, "");
    let (child, _) = rotating(&config, &[]);
    let first = until(&config, "minted", |status| status["generation"] == 1);
    local(&place, "mode = \"rw\"\n");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    // The file is broken: the daemon still answers, by the configuration from before.
    let socket = place.text("rotate.sock");
    let ask = || countermark(["ctl", "status", "--json", "--socket", &socket]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ask().done().json()["credentials"][0]["serial"], first["serial"]);
    let two = local(
        &place,
        &format!("[[credential]]\nname = \"other\"\nidentity = \"{BOT}-2\"\nissuer = \"ca\"\ndirectory = \"other\"\n"),
    );
    let begun = Instant::now();
    while ask().json()["credentials"].as_array().unwrap().len() != 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the change of the file was not seen");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&two)["serial"], first["serial"], "what did not change was not touched");
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn the_second_daemon_refuses_and_the_first_can_be_killed() {
    let place = Place::with_authority();
    let config = local(&place, "");
    let (mut child, _) = rotating(&config, &[]);
    until(&config, "minted", |status| status["generation"] == 1);
    countermark(["rotate", "--config", &config]).failed(3, &["another `countermark rotate`", "end that one first"]);
    let mode = std::fs::metadata(place.path("rotate.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();
    let (child, _) = rotating(&config, &[]);
    assert_eq!(status(&config)["generation"], 1, "what is good is kept");
    assert_eq!(terminate(child), Some(0));
    assert!(!place.path("rotate.sock").exists());
}

#[test]
fn probes_and_prometheus_are_answered() {
    let place = Place::with_authority();
    let config = local(&place, "");
    let args = ["rotate", "--config", &config, "--admin", "127.0.0.1:0"].map(str::to_owned);
    let (child, line) = start(&args, "healthz, readyz and metrics");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    until(&config, "minted", |status| status["generation"] == 1);
    let get = |path: &str| crate::run::program("curl", ["-s", "-i", &format!("http://{address}{path}")]);
    let Some(ready) = get("/readyz") else { return };
    assert!(ready.out.starts_with("HTTP/1.1 200") && ready.out.ends_with("ready\n"), "{ready:?}");
    assert!(get("/healthz").unwrap().out.starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics").unwrap().out;
    for name in [
        "countermark_rotate_not_after_seconds{credential=\"bot\"} 1",
        "countermark_rotate_last_success_seconds{credential=\"bot\"} 1",
        "countermark_rotate_consecutive_failures{credential=\"bot\"} 0",
        "countermark_rotate_generation{credential=\"bot\"} 1",
        "countermark_rotate_served_serial_mismatch{credential=\"bot\"} 0",
        "countermark_rotate_results_total{what=\"renewal\",result=\"ok\"} 1",
        "countermark_rotate_ready 1",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    let refused =
        crate::run::program("curl", ["-s", "-i", "-H", "Origin: http://x", &format!("http://{address}/metrics")]);
    assert!(refused.unwrap().out.starts_with("HTTP/1.1 403"));
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn systemd_is_told() {
    let place = Place::with_authority();
    let config = local(&place, "");
    let manager = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = command()
        .args(["rotate", "--config", &config])
        .env("NOTIFY_SOCKET", place.path("notify"))
        .env("WATCHDOG_USEC", "600000")
        // A test that fails must not leave behind what keeps its reader waiting.
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 256];
    while !["READY=1", "WATCHDOG=1"].iter().all(|awaited| said.iter().any(|word| word == awaited)) {
        let length = manager.recv(&mut buffer).unwrap();
        said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if said.last().is_some_and(|word| word == "READY=1") {
            assert_eq!(status(&config)["usable"], true, "ready is what can be used");
        }
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    while said.last().unwrap() != "STOPPING=1" {
        let length = manager.recv(&mut buffer).unwrap();
        said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn guard_keeps_its_own_identity_fresh() {
    let place = Place::with_authority();
    let (authority, url) = serving(&place, &[]);
    let invite = place.text("ledger.invite");
    let ca = place.text("ca");
    let mut args = vec!["ca", "invite", "server", "ledger", "--ca", &ca, "--out", &invite];
    args.extend(["--dns", "localhost", "--ip", "127.0.0.1"]);
    countermark(args).done();
    let dir = place.text("ledger");
    join(&invite, &dir).done();
    let policy = place.policy();
    let mut args = vec!["guard", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9/mcp"];
    args.extend(["--identity", &dir, "--policy", &policy, "--renew-from", &url]);
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let (guard, _) = start(&args, "guard serves");
    let other = place.write(
        "rotate.toml",
        format!(
            "version = 1\n[[issuer]]\nname = \"a\"\nkind = \"authority\"\nurl = \"{url}\"\n[[credential]]\nname = \"ledger\"\n\
             identity = \"spiffe://agents.internal/server/ledger\"\nissuer = \"a\"\ndirectory = \"ledger\"\n"
        ),
    );
    countermark(["rotate", "--config", &other]).failed(3, &["another `countermark rotate`"]);
    assert_eq!(terminate(guard), Some(0));
    assert_eq!(terminate(authority), Some(0));
    let mut args: Vec<String> = args;
    args.iter_mut().filter(|word| **word == url).for_each(|word| "http://x".clone_into(word));
    countermark(args).failed(2, &["--renew-from", "https://HOST:PORT"]);
}
