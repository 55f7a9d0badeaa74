//! kill -9 at any point of a switch: no reader ever sees half of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countermark_credential::directory::{self, Delivery, DomainCrls};
use countermark_credential::{Credential, Issuer, Issuing};
use countermark_identity::{Clock as _, SystemClock, UnixTime};
use countermark_rotate::config::CredentialEntry;
use countermark_rotate::issuer::{Coming, OwnTrust, Present, Station, Stations, TrustOf};
use countermark_rotate::{Config, Rotation, Setup};
use countermark_testkit::TestCa;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::FromDer as _;

use crate::estate::BOT;

/// An authority in the process itself, so that switches follow each other as fast as the disk allows.
struct Local(Arc<TestCa>);

impl Issuer for Local {
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a> {
        Box::pin(async move {
            let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(csr)?;
            Ok(self.0.sign(&self.0.agent_spec("billing-bot"), request.certification_request_info.subject_pki.raw))
        })
    }
}

impl TrustOf for Local {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(async { Ok(OwnTrust { bundle: self.0.bundle(), crls: self.0.crls() }) })
    }
}

impl Stations for Local {
    fn station<'a>(&'a self, _: &'a CredentialEntry, _: &'a Present, _: UnixTime) -> Coming<'a, Station> {
        Box::pin(async {
            let local = Arc::new(Self(Arc::clone(&self.0)));
            Ok(Station { issuer: local.clone(), trust: local, windows: None })
        })
    }
}

fn config(place: &Path) -> Config {
    let text = format!(
        "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n\
         [[credential]]\nname = \"billing-bot\"\nidentity = \"{BOT}\"\nissuer = \"ca\"\ndirectory = \"id\"\n"
    );
    Config::parse(&text, &place.join("rotate.toml")).unwrap()
}

/// The process that is killed: it renews as fast as it can, for ever. Without a place it is nobody's process, and ends.
#[test]
fn the_process_that_is_killed() {
    let Some(place) = std::env::var_os("COUNTERMARK_TEST_PLACE").map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let setup = Setup {
            config: config(&place),
            stations: Arc::new(Local(Arc::new(TestCa::new("agents.internal")))),
            clock: Arc::new(SystemClock),
            observers: Vec::new(),
        };
        let (rotation, handle) = Rotation::start(setup).unwrap();
        tokio::spawn(rotation.run(CancellationToken::new()));
        // A kill between trust and credential leaves one that stands under roots which are not its own: there is none until the next.
        let mut delivered = loop {
            match handle.watch("billing-bot").await.unwrap() {
                Some(delivered) => break delivered,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        loop {
            handle.renew("billing-bot").await.unwrap();
            delivered.changed().await.unwrap();
        }
    });
}

fn spawn(place: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed"])
        .env("COUNTERMARK_TEST_PLACE", place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads one file: key and chain must fit.
fn read_bundle(dir: &Path) {
    let text = fs::read(dir.join("credential-bundle.pem")).unwrap();
    Credential::from_pem(&text).unwrap();
}

/// Resolves `current` once and reads everything in there.
fn read_resolved(dir: &Path) {
    let current = fs::canonicalize(dir.join("current")).unwrap();
    let key = fs::read(current.join("tls.key")).unwrap();
    let chain = fs::read(current.join("tls.crt")).unwrap();
    let credential = Credential::from_pem(&[key, chain].concat()).unwrap();
    assert_eq!(credential.spiffe_id().unwrap().as_str(), BOT);
    let bundle = fs::read(current.join("agents.internal.trust-bundle.pem")).unwrap();
    let bundle = countermark_credential::Bundle::from_pem("agents.internal".parse().unwrap(), &bundle).unwrap();
    assert_eq!(bundle.roots().len(), 1);
    assert_eq!(fs::read(current.join("ca.crt")).unwrap().len(), bundle.to_pem().len());
}

#[test]
fn no_reader_sees_half_a_switch() {
    // In memory where that is to be had: what is tested is the order of the steps, not how long a disk takes for each.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = place.path().join("id");
    first(&dir);
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let readers: [fn(&Path); 2] = [read_bundle, read_resolved];
    let begun = Instant::now();
    let (mut kills, mut generation) = (0_u32, 0);
    std::thread::scope(|scope| {
        for reader in readers {
            let (dir, over, reads) = (&dir, &over, &reads);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    reader(dir);
                    reads.fetch_add(1, Ordering::Relaxed);
                    // Leaves the process that switches a core to do it on.
                    std::thread::sleep(Duration::from_micros(300));
                }
            });
        }
        // Killed at another moment each time, until there were enough switches, and in any case in the end.
        while generation < SWITCHES && begun.elapsed() < LONGEST {
            let mut child = spawn(place.path());
            std::thread::sleep(Duration::from_micros(200_000 + u64::from(kills) * 79_190 % 1_300_000));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            generation = current(&dir);
        }
        over.store(true, Ordering::Relaxed);
    });
    let held = directory::load(&dir, SystemClock.now()).unwrap();
    assert_eq!(held.credential.spiffe_id().unwrap().as_str(), BOT);
    println!("{generation} switches, {kills} kills, {} reads", reads.load(Ordering::Relaxed));
    assert!(generation > 200 && kills > 10, "{generation} switches, {kills} kills");
}

/// A directory that somebody filled by hand, and the first renewal into it.
#[test]
fn a_first_renewal_that_is_killed_leaves_roots_and_lists() {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = place.path().join("id");
    let mut cut_off = 0;
    for kill in 0..KILLS {
        let _of_the_kill_before = fs::remove_dir_all(&dir);
        by_hand(&dir);
        let mut child = spawn(place.path());
        let begun = Instant::now();
        while !dir.join("trust").exists() && begun.elapsed() < LONGEST {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(kill * 97 % 1000));
        child.kill().unwrap();
        child.wait().unwrap();
        cut_off += u32::from(!dir.join("trust/current").is_symlink());
        let held = directory::load(&dir, SystemClock.now()).unwrap();
        assert_eq!((held.bundles.len(), held.crls.len()), (2, 1), "a partner's roots among them");
    }
    println!("{cut_off} of {KILLS} before the switch");
    // What is left is no obstacle to the next.
    let mut child = spawn(place.path());
    let begun = Instant::now();
    while !dir.join("current").is_symlink() && begun.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(directory::load(&dir, SystemClock.now()).unwrap().bundles.len(), 2);
    assert!(current(&dir) >= 1);
}

fn by_hand(dir: &Path) {
    let (ca, partner) = (TestCa::new("agents.internal"), TestCa::new("partner.example"));
    let credential = ca.agent("billing-bot");
    fs::create_dir(dir).unwrap();
    let write = |name: &str, content: &[u8]| directory::replace_file(&dir.join(name), content).unwrap();
    write("tls.key", credential.key_to_pem().expose().as_bytes());
    write("tls.crt", credential.chain_to_pem().as_bytes());
    for bundle in [ca.bundle(), partner.bundle()] {
        write(&directory::bundle_name(bundle.trust_domain()), bundle.to_pem().as_bytes());
    }
    let lists: String = ca.crls().iter().map(|crl| crl.to_pem()).collect();
    write(&directory::crl_name(ca.trust_domain()), lists.as_bytes());
}

/// The first credential; its certificates outlive the test, so that no generation is swept under a reader.
fn first(dir: &Path) {
    let ca = TestCa::new("agents.internal");
    let delivery = Delivery {
        credential: ca.agent("billing-bot"),
        bundles: vec![ca.bundle()],
        crls: vec![DomainCrls { trust_domain: ca.trust_domain().clone(), crls: ca.crls() }],
    };
    directory::deliver(dir, &delivery, SystemClock.now()).unwrap();
}

fn current(dir: &Path) -> u64 {
    let link = fs::read_link(dir.join("current")).unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

const KILLS: u64 = 40;
const SWITCHES: u64 = 1000;
const LONGEST: Duration = Duration::from_secs(90);
