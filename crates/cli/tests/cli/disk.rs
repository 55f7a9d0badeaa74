//! A disk that is really full: a small file system of its own, in memory, which takes root to mount.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    run::{Place, countermark, skip},
    serve::{start, terminate},
};

/// A mounted file system, unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None, and said so, where this machine does not let us mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        if !mounted.as_ref().is_ok_and(|ran| ran.status.success()) {
            skip("a small file system cannot be mounted here; that takes root");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        for block in [65_536, 4096, 1] {
            while filler.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

#[test]
fn a_full_disk_keeps_the_delivered_generation_and_room_brings_the_next() {
    let place = Place::with_authority();
    let Some(disk) = Disk::mount(&place.path("disk"), "384k") else { return };
    let config = place.write(
        "rotate.toml",
        "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n[[credential]]\nname = \"bot\"\n\
         identity = \"spiffe://agents.internal/agent/billing-bot\"\nissuer = \"ca\"\ndirectory = \"disk/bot\"\n\
         projected = \"disk/volume\"\nsecret = { path = \"disk/secret.json\", name = \"bot\" }\n",
    );
    let args = ["rotate", "--config", &config].map(str::to_owned);
    let (rotation, _) = start(&args, "rotate runs");
    let status =
        || -> Value { countermark(["ctl", "status", "--json", "--config", &config]).json()["credentials"][0].clone() };
    let settled = || status()["duties"].as_array().is_some_and(|duties| duties.iter().all(|duty| duty["done"] == true));
    until("the first generation is never projected", || status()["generation"] == 1 && settled());
    let bundle = |at: &str| fs::read(place.path(at)).unwrap();
    let files = ["disk/bot/credential-bundle.pem", "disk/volume/credential-bundle.pem", "disk/secret.json"];
    let before = files.map(bundle);

    disk.fill();
    countermark(["ctl", "renew", "bot", "--config", &config]).done();
    until("nobody notices the full disk", || {
        let cause = status()["failure"]["cause"].as_str().unwrap_or_default().to_owned();
        cause.contains("free some space")
    });
    assert_eq!(files.map(bundle), before, "whatever is there is whole");
    countermark(["inspect", &place.text("disk/bot")]).done();
    assert_eq!((&status()["usable"], &status()["generation"]), (&true.into(), &1.into()));

    disk.free();
    until("it does not go on once there is room", || status()["generation"] == 2 && settled());
    let after = files.map(bundle);
    assert!(after.iter().zip(&before).all(|(after, before)| after != before));
    assert_eq!(after[0], after[1], "the projection is of the same generation");
    assert_eq!(terminate(rotation), Some(0));
}

fn ready(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn an_authority_on_a_full_disk_signs_nothing_says_so_and_recovers_by_itself() {
    let place = Place::empty();
    let Some(disk) = Disk::mount(&place.path("disk"), "4m") else { return };
    let ca = place.text("disk/ca");
    countermark(["ca", "init", "--dir", &ca, "--trust-domain", "agents.internal", "--plaintext-key"]).done();
    let admin = place.text("admin");
    countermark(["mint", "admin", "root-admin", "--ca", &ca, "--out", &admin]).done();
    let args = ["ca", "serve", "--dir", &ca, "--listen", "127.0.0.1:0", "--dns", "localhost", "--admin", "127.0.0.1:0"];
    let (authority, line) = start(&args.map(str::to_owned), "healthz, readyz and metrics");
    let probes = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let served: toml::Table = toml::from_str(&fs::read_to_string(place.path("disk/ca/service.toml")).unwrap()).unwrap();
    let url = served["url"].as_str().unwrap().to_owned();
    let mint = |name: &str| {
        let out = place.text(name);
        countermark(["mint", "agent", name, "--out", &out, "--ca", &url, "--identity", &admin])
    };
    mint("first").done();
    assert!(ready(&probes));

    disk.fill();
    let mut refused = 0;
    // What the write-ahead log had room for is used up first.
    for number in 0..200 {
        let ran = mint(&format!("bot-{number}"));
        if ran.code == Some(0) {
            countermark(["inspect", &place.text(&format!("bot-{number}"))]).done();
            continue;
        }
        assert!(ran.err.contains("503") && ran.err.contains("inventory cannot be written"), "{ran:?}");
        assert!(!place.path(&format!("bot-{number}")).exists(), "nothing is half-made");
        refused += 1;
        break;
    }
    assert_eq!(refused, 1, "the disk was never full");
    assert!(!ready(&probes));

    disk.free();
    let took = until("it stays red although there is room", || ready(&probes));
    println!("from room on the disk to ready, without a request: {took:?}");
    mint("second").done();
    countermark(["inspect", &place.text("second")]).done();
    assert_eq!(terminate(authority), Some(0));
}
