//! `token`, and what `doctor` says of tokens: against an authorization server and a guard that requires them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::Arc,
};

use countermark_credential::watch::{DirectoryConfig, DirectorySource};
use countermark_identity::{SanMap, SystemClock};
use countermark_mtls::TrustGenerations;
use countermark_testkit::{AuthorizationServer, Client, Fault};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{runtime::Runtime, sync::watch};

use crate::run::{Place, Ran, command, countermark};

const RESOURCE: &str = "https://ledger.internal/mcp";

/// An estate with an authorization server; the runtime is what that one runs in.
struct World {
    place: Place,
    sso: AuthorizationServer,
    _source: DirectorySource,
    _runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let place = Place::with_authority();
        for (role, name) in [("server", "sso"), ("server", "ledger"), ("agent", "billing-bot"), ("agent", "intern-bot")]
        {
            place.mint(role, name);
        }
        let runtime = Runtime::new().unwrap();
        let (source, sso) = runtime.block_on(async {
            let source =
                DirectorySource::spawn(DirectoryConfig::new(place.path("sso")), Arc::new(SystemClock)).unwrap();
            let (_, map) = watch::channel(Arc::new(SanMap::empty("agents.internal".parse().unwrap())));
            let trust = TrustGenerations::join(source.trust(), map).watch();
            let sso = AuthorizationServer::start(source.credential(), trust, Arc::new(SystemClock)).await;
            (source, sso)
        });
        let billing = Client::of_certificate("spiffe://agents.internal/agent/billing-bot");
        sso.register("billing", billing.with_scopes(&["ledger.read", "ledger.write"]));
        Self { place, sso, _source: source, _runtime: runtime }
    }

    fn token(&self, agent: &str, more: &[&str]) -> Ran {
        let identity = self.place.text(agent);
        let args = ["token", "--issuer", self.sso.issuer(), "--client-id", "billing", "--identity", &identity];
        countermark(args.iter().chain(&["--resource", RESOURCE]).chain(more))
    }

    fn guard(&self) -> Guard {
        let policy = "version = 1\ntrust_domain = \"agents.internal\"\n[[grant]]\nwho = [\"billing-bot\"]\nservers = [\"ledger\"]\ntools = [\"*\"]\nscopes = [\"ledger.read\"]\n";
        let policy = self.place.write("scopes.toml", policy);
        let mut command = command();
        command.args(["guard", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9/mcp", "--policy", &policy]);
        command.args(["--identity", &self.place.text("ledger"), "--audit", &self.place.text("audit.jsonl")]);
        command.args(["--issuer", self.sso.issuer(), "--audience", RESOURCE, "--client", "billing=billing-bot"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("guard serves")).expect("it serves");
        let from = line.find("https://").unwrap();
        let url = line[from..].split(['"', ' ']).next().unwrap().to_owned();
        // Read to its end, so that it is never held up.
        std::thread::spawn(move || lines.for_each(drop));
        Guard { child, url }
    }

    fn doctor(&self, guard: &Guard, agent: &str, more: &[&str]) -> Ran {
        let identity = self.place.text(agent);
        countermark(["doctor", &guard.url, "--identity", &identity, "--json"].iter().chain(more))
    }
}

struct Guard {
    child: Child,
    url: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn step(ran: &Ran, name: &str) -> serde_json::Value {
    let steps = ran.json();
    steps.as_array().unwrap().iter().find(|step| step["step"] == name).cloned().unwrap_or_default()
}

#[test]
fn a_token_is_told_of_and_printed_only_when_that_is_asked_for() {
    let world = World::new();
    let told = world.token("billing-bot", &["--scope", "ledger.read"]).done();
    for said in [world.sso.issuer(), RESOURCE, "ledger.read", "bound to this certificate"] {
        assert!(told.out.contains(said), "{said}: {told:?}");
    }
    let json = world.token("billing-bot", &["--json"]).done().json();
    assert_eq!((json["binding"].as_str(), json["matches_certificate"].as_bool()), (Some("certificate"), Some(true)));
    let printed = world.token("billing-bot", &["--print"]).done();
    let issued = world.sso.issued();
    assert!(issued.contains(&printed.out.trim().to_owned()));
    for token in &issued {
        assert!(!format!("{told:?} {json}").contains(token.as_str()));
    }
    let revoked = world.token("billing-bot", &["--revoke"]).done();
    assert!(revoked.out.contains("revoked"));
    assert_eq!(world.sso.revoked(), 1);
}

#[test]
fn what_stands_in_the_way_of_a_token_is_said() {
    let world = World::new();
    let refused = world.token("intern-bot", &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.out.contains("invalid_client"), "{refused:?}");
    let scope = world.token("billing-bot", &["--scope", "root"]);
    assert!(scope.code == Some(1) && scope.out.contains("invalid_scope"), "{scope:?}");
    world
        .token("billing-bot", &["--issuer-ca", "/nonexistent.pem"])
        .failed(3, &["cannot read the CA /nonexistent.pem"]);
    world.token("billing-bot", &["--client-auth", "secret"]).failed(2, &["needs a file", "--client-secret-file"]);
    world.sso.fail(Fault::Claims(serde_json::json!({"cnf": null})));
    world
        .token("billing-bot", &[])
        .failed(3, &["bound to no certificate", "tls_client_certificate_bound_access_tokens"]);
    let resource = ["token", "--issuer", "https://x", "--client-id", "b", "--identity", "x", "--resource", "http://x"];
    countermark(resource).failed(2, &["--resource http://x is no https:// URL"]);
}

#[test]
fn doctor_explains_a_token_step_by_step() {
    let world = World::new();
    let guard = world.guard();
    let nothing = world.doctor(&guard, "billing-bot", &[]);
    assert_eq!(nothing.code, Some(3));
    let said = step(&nothing, "token");
    assert!(said["remedy"].as_str().unwrap().contains("--client-id ID and --issuer URL"), "{said}");
    let with = |more: &[&str]| {
        let args = ["--client-id", "billing", "--issuer", world.sso.issuer(), "--resource", RESOURCE];
        world.doctor(&guard, "billing-bot", &[&args[..], more].concat())
    };
    let good = with(&["--scope", "ledger.read"]);
    for name in ["issuer", "token", "binding"] {
        assert_eq!(step(&good, name)["state"], "passed", "{good:?}");
    }
    assert!(
        step(&good, "call")["finding"].as_str().unwrap().contains("behind guard"),
        "the upstream is not there: {good:?}"
    );
    world.sso.fail(Fault::Claims(serde_json::json!({"aud": "https://other.internal"})));
    let elsewhere = with(&[]);
    let steps = elsewhere.json();
    let last = steps.as_array().unwrap().iter().rfind(|step| step["step"] == "token").unwrap().clone();
    assert!(last["finding"].as_str().unwrap().contains("audience is another server"), "{last}");
    assert!(last["remedy"].as_str().unwrap().contains("--audience"), "{last}");
    world.sso.disable("billing");
    let disabled = with(&[]);
    assert!(step(&disabled, "token")["finding"].as_str().unwrap().contains("invalid_client"), "{disabled:?}");
    for token in world.sso.issued() {
        assert!(!format!("{good:?}{elsewhere:?}{disabled:?}").contains(&token));
        assert!(!std::fs::read_to_string(world.place.path("audit.jsonl")).unwrap().contains(&token));
    }
}
