//! `ca serve` and those who ask it: invites, minting, lists and revocation by URL, and a death in the middle of a wave.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use countermark_credential::{Credential, directory};
use countermark_identity::{SanMap, SystemClock, Thumbprint};
use countermark_issue::{KeyPair, KeyType};
use countermark_mtls::{Client, ClientConfig, ExpectedServer, TrustGenerations};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::{
    run::{BINARY, Place, countermark, skip},
    serve::{Served, start, terminate},
};

/// An authority that serves, its address and its URL.
pub(crate) fn serving(place: &Place, flags: &[&str]) -> (Served, String) {
    let mut args = ["ca", "serve", "--dir", &place.text("ca"), "--dns", "localhost"].map(str::to_owned).to_vec();
    if !flags.contains(&"--listen") {
        args.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let (child, line) = start(&args, "the authority serves");
    let url = line.split("url=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').to_owned();
    (child, url)
}

#[test]
fn it_serves_until_it_is_told_to_end_and_says_where() {
    let place = Place::with_authority();
    let (child, url) = serving(&place, &[]);
    let live = countermark(["inspect", url.trim_start_matches("https://"), "--json"]).done().json();
    assert_eq!(live["certificates"][0]["identity"], "spiffe://agents.internal/server/authority");
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn an_administrator_asks_it_from_afar() {
    let place = Place::with_authority();
    let admin = place.mint("admin", "root-admin");
    let (child, url) = serving(&place, &[]);
    let at = ["--ca", &url, "--identity", &admin];
    let out = place.text("far-bot");
    let minted = countermark(["mint", "agent", "far-bot", "--out", &out, "--json"].iter().chain(&at)).done().json();
    assert_eq!(minted["identity"], "spiffe://agents.internal/agent/far-bot");
    let inspected = countermark(["inspect", &out, "--json"]).done().json();
    assert_eq!(inspected["certificates"][0]["problems"].as_array().unwrap().len(), 0);
    let again = countermark(["mint", "agent", "far-bot", "--out", &out, "--json"].iter().chain(&at)).done().json();
    assert_ne!(again["generation"], minted["generation"], "the next generation of the same directory");

    let far = countermark(["ca", "list", "--json"].iter().chain(&at)).done().json();
    let near = countermark(["ca", "list", "--json", "--ca", &place.text("ca")]).done().json();
    assert_eq!(far, near);
    let serial = minted["serial"].as_str().unwrap();
    let revoked = countermark(["ca", "revoke", serial, "--json"].iter().chain(&at)).done().json();
    assert_eq!(revoked["revoked"][0], serial);
    countermark(["ca", "revoke", "far-bot"].iter().chain(&at)).done();
    countermark(["ca", "revoke", "nobody"].iter().chain(&at)).failed(3, &["knows no certificate", "nobody"]);

    let invite = place.text("far.invite");
    let made = countermark(["ca", "invite", "agent", "new-bot", "--out", &invite, "--json"].iter().chain(&at)).done();
    assert!(!made.out.contains("secret"), "{made:?}");
    require_invite(&place, "far.invite", &url);
    countermark(["mint", "admin", "eve", "--out", &place.text("eve")].iter().chain(&at))
        .failed(3, &["mint admin NAME --ca DIR"]);
    let agent = place.mint("agent", "billing-bot");
    countermark(["ca", "list", "--ca", &url, "--identity", &agent]).failed(3, &["/admin/"]);
    assert_eq!(terminate(child), Some(0));
}

fn require_invite(place: &Place, name: &str, url: &str) {
    let mode = std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = std::fs::read_to_string(place.path(name)).unwrap();
    for key in ["version = 1", url, "spiffe://agents.internal/server/authority", "root_sha256", "secret", "expires"] {
        assert!(text.contains(key), "{key} is missing");
    }
}

#[test]
fn a_directory_invites_to_where_it_served_last() {
    let place = Place::with_authority();
    let invite =
        ["ca", "invite", "agent", "billing-bot", "--ca", &place.text("ca"), "--out", &place.text("bot.invite")];
    countermark(invite).failed(3, &["--url https://HOST:PORT", "ca serve"]);
    let (child, url) = serving(&place, &[]);
    assert_eq!(terminate(child), Some(0));
    countermark(invite).done();
    require_invite(&place, "bot.invite", &url);
    countermark(invite.iter().chain(&["--url", "https://elsewhere:1"])).done();
    require_invite(&place, "bot.invite", "https://elsewhere:1");
    countermark(invite.iter().chain(&["--url", "http://elsewhere:1"])).failed(2, &["https"]);
    countermark(invite.iter().chain(&["--valid-for", "8d"])).failed(3, &["a week"]);
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_is_sent() {
    let place = Place::with_authority();
    countermark(["ca", "list", "--ca", "https://localhost:1"]).failed(2, &["--identity"]);
    countermark(["ca", "list", "--ca", "http://localhost:1", "--identity", "x"]).failed(2, &["https"]);
    countermark(["ca", "list", "--ca", &place.text("ca"), "--identity", "x"]).failed(2, &["goes with a URL"]);
    countermark(["ca", "list", "--ca", "https://localhost:1", "--identity", &place.text("none")])
        .failed(3, &["mint admin"]);
    let enrol = place.write("enrol.toml", "version = 1\n[[jwt_issuer]]\n");
    let serve = ["ca", "serve", "--dir", &place.text("ca"), "--listen", "127.0.0.1:0", "--dns", "localhost"];
    countermark(serve.iter().chain(&["--enrol", &enrol])).failed(3, &["enrol.toml:2:"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["ca", "serve", "--dir", &place.text("ca"), "--listen", &address, "--dns", "localhost"];
    countermark(args).failed(3, &[&address, "choose another"]);
}

/// A client of one identity, as `rotate` will be one.
fn client(identity: &str) -> Client {
    let held = directory::read(identity.as_ref()).unwrap();
    let loaded = directory::load_trust(identity.as_ref()).unwrap();
    let own = held.credential.spiffe_id().unwrap().trust_domain().clone();
    let domains = loaded.bundles.into_iter().map(|bundle| countermark_credential::DomainTrust {
        bundle,
        crls: loaded.crls.iter().flat_map(|domain| domain.crls.iter().cloned()).collect(),
        revocation: countermark_credential::Revocation::Required,
    });
    let trust = countermark_credential::Trust::new(domains.collect()).unwrap();
    let generations = TrustGenerations::fixed(Arc::new(trust), Arc::new(SanMap::empty(own)));
    let (_, credential): (_, watch::Receiver<Arc<Credential>>) = watch::channel(held.credential);
    let expected = ExpectedServer::Name("authority".to_owned());
    Client::new(credential, generations.watch(), expected, Arc::new(SystemClock), ClientConfig::default()).unwrap()
}

/// What was answered: every leaf that a client has in its hands.
type Answered = Arc<Mutex<Vec<Vec<u8>>>>;

async fn renew(client: &Client, url: &str, csr: &[u8], answered: &Answered) -> bool {
    let request = Request::post(format!("{url}/.well-known/est/simplereenroll")).body(Full::new(csr.to_vec().into()));
    let Ok(answer) = client.request(request.unwrap()).await else { return false };
    if !answer.status().is_success() {
        return false;
    }
    let Ok(body) = answer.into_body().collect().await else { return false };
    answered.lock().unwrap().push(body.to_bytes().to_vec());
    true
}

const LANES: usize = 8;
const WAVE: usize = 2000;

/// Renews until the wave is over; the authority is killed in between, and comes back at the same address.
#[test]
fn killed_in_a_wave_of_renewals_it_loses_none_repeats_none_and_knows_all() {
    let place = Place::with_authority();
    let identities: Vec<String> = (0..LANES).map(|lane| place.mint("agent", &format!("lane-{lane}"))).collect();
    let before = place.minted();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let flags = ["--listen", &listen, "--max-per-identity", "1000000"];
    let (mut child, url) = serving(&place, &flags);
    let (answered, count) = (Answered::default(), Arc::new(AtomicUsize::new(0)));
    let lanes: Vec<_> = identities
        .into_iter()
        .map(|identity| {
            let (url, answered, count) = (url.clone(), Arc::clone(&answered), Arc::clone(&count));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let (client, csr) =
                        (client(&identity), KeyPair::generate(KeyType::P256).unwrap().request().unwrap());
                    let until = Instant::now() + Duration::from_secs(90);
                    while count.load(Ordering::Relaxed) < WAVE && Instant::now() < until {
                        if renew(&client, &url, &csr, &answered).await {
                            count.fetch_add(1, Ordering::Relaxed);
                        } else {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                });
            })
        })
        .collect();
    for kill in 1..=3 {
        let begun = Instant::now();
        while count.load(Ordering::Relaxed) < kill * WAVE / 5 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        child = serving(&place, &flags).0;
    }
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
    assert_eq!(terminate(child), Some(0));
    assert!(count.load(Ordering::Relaxed) >= WAVE, "{} of {WAVE} were answered", count.load(Ordering::Relaxed));

    let listed = countermark(["ca", "list", "--ca", &place.text("ca"), "--all", "--json"]).done().json();
    let rows: BTreeMap<&str, &str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["serial"].as_str().unwrap(), row["thumbprint"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(rows.len(), listed.as_array().unwrap().len(), "a serial stands twice");
    let mut seen = BTreeMap::new();
    for bag in answered.lock().unwrap().iter() {
        let leaf = leaf_of(bag);
        let serial = countermark_identity::Leaf::parse(&leaf).unwrap().serial().to_string();
        assert_eq!(rows.get(serial.as_str()), Some(&Thumbprint::of(&leaf).to_hex().as_str()), "{serial} is unknown");
        assert_eq!(seen.insert(serial, ()), None, "a serial was answered twice");
    }
    assert!(rows.len() >= before + seen.len());
}

/// The first certificate of a bag: what follows the two headers that say how long it is.
fn leaf_of(bag: &[u8]) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text: Vec<u8> = bag.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(text).unwrap();
    let begins = |at: &usize| {
        der[*at] == 0x30 && der[*at + 1] == 0x82 && der[*at + 4] == 0x30 && der[*at + 5] == 0x82 && der[*at + 8] == 0xa0
    };
    let at = (0..der.len() - 9).find(begins).unwrap();
    let length = usize::from(der[at + 2]) << 8 | usize::from(der[at + 3]);
    der[at..at + 4 + length].to_vec()
}

/// Every one is answered, and with more of them it is a measurement of how many a second a core makes:
/// `COUNTERMARK_RENEWALS=20000 cargo test --release -p countermark-cli --test cli -- --nocapture renewals_on_kept_connections`.
#[test]
#[expect(clippy::disallowed_methods, reason = "how many is the measurer's to say")]
fn renewals_on_kept_connections_are_all_answered() {
    let wanted = std::env::var("COUNTERMARK_RENEWALS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let place = Place::with_authority();
    let identities: Vec<String> = (0..4).map(|lane| place.mint("agent", &format!("lane-{lane}"))).collect();
    let (child, url) = serving(&place, &["--max-per-identity", "1000000"]);
    let count = Arc::new(AtomicUsize::new(0));
    let (begun, before) = (Instant::now(), ticks(child.id()));
    let lanes: Vec<_> = identities
        .into_iter()
        .map(|identity| {
            let (url, count) = (url.clone(), Arc::clone(&count));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let client = client(&identity);
                let csr = KeyPair::generate(KeyType::P256).unwrap().request().unwrap();
                runtime.block_on(async {
                    let mut streams = tokio::task::JoinSet::new();
                    for _ in 0..16 {
                        let (client, url, csr, count) = (client.clone(), url.clone(), csr.clone(), Arc::clone(&count));
                        streams.spawn(async move {
                            let nobody_looks = Answered::default();
                            while count.fetch_add(1, Ordering::Relaxed) < wanted {
                                assert!(renew(&client, &url, &csr, &nobody_looks).await);
                            }
                        });
                    }
                    streams.join_all().await;
                });
            })
        })
        .collect();
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), (ticks(child.id()) - before) as f64 / 100.0);
    let renewals = wanted as f64;
    println!(
        "{wanted} renewals: {:.0} a second by the wall, {:.0} a second a core ({:.0} µs each)",
        renewals / wall,
        renewals / cpu,
        cpu / renewals * 1e6
    );
    assert_eq!(terminate(child), Some(0));
}

/// Hundredths of a second of processor time that a process has taken.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Whoever stops reading the log neither ends the service nor keeps it from ending.
#[test]
fn it_ends_on_sigterm_though_nobody_reads_its_log() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::with_authority();
    let mut serve = crate::run::command();
    serve.args(["ca", "serve", "--dir", &place.text("ca"), "--listen", "127.0.0.1:0", "--dns", "localhost"]);
    let mut child = Served::from(serve.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("the authority serves") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
    }
    drop(log);
    assert_eq!(terminate(child), Some(0));
}

/// The kernel as the witness: both commits of the inventory come before the answer goes to the socket.
#[test]
fn the_inventory_is_on_the_disk_before_the_answer_leaves() {
    let place = Place::with_authority();
    let identity = place.mint("agent", "billing-bot");
    let trace = place.text("trace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg", "-o", &trace, BINARY]);
    traced.args(["ca", "serve", "--dir", &place.text("ca"), "--listen", "127.0.0.1:0", "--dns", "localhost"]);
    traced.args(["--drain", "1s"]);
    let Ok(child) = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() else {
        return skip("strace is not installed");
    };
    let Some((mut child, line)) = await_line(child, "the authority serves") else {
        return skip("strace may not trace here");
    };
    let url = line.split("url=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').to_owned();
    let before = syncs(&std::fs::read_to_string(&trace).unwrap()).len();
    let answered = Answered::default();
    let csr = KeyPair::generate(KeyType::P256).unwrap().request().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(async { renew(&client(&identity), &url, &csr, &answered).await }));
    // strace keeps its own signals waiting: whom it traces is told, and it ends with it.
    let traced = std::fs::read_to_string(&trace).unwrap();
    let pid = traced.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    child.wait().unwrap();

    let text = std::fs::read_to_string(&trace).unwrap();
    // The bag is longer than anything that is sent after it; the handshake comes before it.
    let sent = sends(&text, 700);
    let (Some(first), Some(&sent)) = (sent.first(), sent.last()) else { panic!("nothing was sent:\n{text}") };
    assert!(*first < sent, "the handshake and the answer:\n{text}");
    let synced_by_then = syncs(&text).iter().filter(|at| **at < sent).count();
    assert!(synced_by_then >= before + 2, "{synced_by_then} of {before} and 2:\n{text}");
}

/// The lines of a trace in which more than `least` bytes began to be sent, those included that another thread interrupted.
fn sends(trace: &str, least: usize) -> Vec<usize> {
    let mut under_way = Vec::new();
    let mut sent = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let begun = if call.contains("<socket:") {
            if call.ends_with("<unfinished ...>") {
                under_way.push((pid, at));
                continue;
            }
            Some(at)
        } else if call.contains("resumed>") {
            under_way.iter().position(|(other, _)| *other == pid).map(|place| under_way.remove(place).1)
        } else {
            None
        };
        let size = call.rsplit("= ").next().and_then(|size| size.trim().parse::<usize>().ok());
        sent.extend(begun.filter(|_| size.is_some_and(|size| size > least)));
    }
    sent
}

/// The lines of a trace by which the inventory's log was on the disk, those included that another thread interrupted.
fn syncs(trace: &str) -> Vec<usize> {
    let mut under_way = Vec::new();
    let mut done = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        if call.contains("sync(") && call.contains("inventory.sqlite-wal>") {
            if call.ends_with("<unfinished ...>") {
                under_way.push(pid);
            } else if call.trim_end().ends_with("= 0") {
                done.push(at);
            }
        } else if call.contains("sync resumed>") && under_way.contains(&pid) {
            under_way.retain(|other| *other != pid);
            done.push(at);
        }
    }
    done
}

/// The child and the line of its log that has these words; nothing where it ends before.
fn await_line(mut child: Child, said: &str) -> Option<(Child, String)> {
    use std::io::{BufRead as _, BufReader};
    let mut lines = BufReader::new(child.stderr.take()?).lines().map_while(Result::ok);
    let line = lines.by_ref().find(|line| line.contains(said));
    let Some(line) = line else {
        child.wait().ok();
        return None;
    };
    std::thread::spawn(move || lines.for_each(drop));
    Some((child, line))
}
