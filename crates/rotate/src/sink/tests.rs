use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use countermark_credential::Bundle;
use countermark_credential::directory::DomainCrls;
use countermark_identity::Clock as _;
use countermark_testkit::TestCa;
use tempfile::TempDir;

use super::*;
use crate::config::{Config, HookKind, SecretSink};

const PARTNER: &str = "partner.example.trust-bundle.pem";

/// A directory with a volume and a manifest.
struct Bench {
    place: TempDir,
    ca: TestCa,
}

impl Bench {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), ca: TestCa::new("agents.internal") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn entry(&self) -> Arc<CredentialEntry> {
        let text = "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n[[credential]]\nname = \"bot\"\n\
             identity = \"spiffe://agents.internal/agent/bot\"\nissuer = \"ca\"\ndirectory = \"id\"\ncombined = true\n\
             projected = \"volume\"\nsecret = { path = \"secret.json\", name = \"bot\" }\n";
        Arc::clone(&Config::parse(text, &self.path("rotate.toml")).unwrap().credentials[0])
    }

    /// A partner's root.
    fn partner(&self) -> Bundle {
        Bundle::new("partner.example".parse().unwrap(), self.ca.bundle().roots().to_vec()).unwrap()
    }

    fn crls(&self) -> Vec<DomainCrls> {
        vec![DomainCrls { trust_domain: self.ca.trust_domain().clone(), crls: self.ca.crls() }]
    }

    /// The next generation, beside the partner's root.
    fn deliver(&self) -> u64 {
        let bundles = vec![self.ca.bundle(), self.partner()];
        let delivery = Delivery { credential: self.ca.agent("bot"), bundles, crls: self.crls() };
        let combined = Extra { name: COMBINED, content: combined(&delivery.credential) };
        let manner = Manner { extras: vec![combined], ..Manner::default() };
        directory::deliver_as(&self.path("id"), &delivery, &manner, self.ca.clock().now()).unwrap().number()
    }

    fn project(&self, generation: u64) -> Result<(), String> {
        project(&self.entry(), generation, &self.path("volume"))
    }

    fn manifest(&self, generation: u64) -> Result<String, String> {
        let entry = self.entry();
        let secret: Vec<SecretSink> = entry.hooks.iter().filter_map(|hook| secret_of(&hook.kind)).collect();
        manifest(&entry, generation, &secret[0])?;
        Ok(fs::read_to_string(&secret[0].path).unwrap())
    }

    /// Whether the volume holds all of this generation.
    fn holds(&self, generation: u64) -> bool {
        let read = |from: &Path| fs::read(from).unwrap();
        let of_generation = self.path("id/generations").join(generation.to_string());
        ["tls.key", "tls.crt", "credential-bundle.pem", COMBINED]
            .iter()
            .all(|name| read(&self.path("volume").join(name)) == read(&of_generation.join(name)))
    }
}

fn secret_of(kind: &HookKind) -> Option<SecretSink> {
    if let HookKind::Secret(secret) = kind { Some(secret.clone()) } else { None }
}

#[test]
fn a_root_that_was_withdrawn_is_projected_no_more() {
    let bench = Bench::new();
    let generation = bench.deliver();
    let volume = bench.path("volume");
    bench.project(generation).unwrap();
    assert!(volume.join(PARTNER).exists() && bench.manifest(generation).unwrap().contains(PARTNER));
    directory::deliver_trust(&bench.path("id"), &[bench.ca.bundle()], &bench.crls()).unwrap();
    bench.project(generation).unwrap();
    assert!(volume.join(PARTNER).symlink_metadata().is_err() && !volume.join("..data").join(PARTNER).exists());
    assert!(volume.join("ca.crt").exists() && volume.join("agents.internal.crl.pem").exists());
    let manifest = bench.manifest(generation).unwrap();
    assert!(!manifest.contains(PARTNER) && manifest.contains("agents.internal.trust-bundle.pem"), "{manifest}");
    assert!(bench.holds(generation));
}

#[test]
fn without_trust_material_nothing_is_projected() {
    let bench = Bench::new();
    let generation = bench.deliver();
    let before = bench.manifest(generation).unwrap();
    fs::remove_dir_all(bench.path("id/trust/versions")).unwrap();
    assert!(bench.manifest(generation).is_err() && bench.project(generation).is_err());
    assert_eq!(fs::read_to_string(bench.path("secret.json")).unwrap(), before);
    assert_eq!(fs::metadata(bench.path("secret.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A pipe in the place of a file: whoever reads it waits for whoever writes it.
fn pipe(path: &Path) {
    let _replaced = fs::remove_file(path);
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_was_overtaken_while_it_was_read_is_not_projected_over_the_next() {
    let bench = Bench::new();
    let older = bench.deliver();
    let held = bench.path("id/generations").join(older.to_string()).join(COMBINED);
    pipe(&held);
    let newer = std::thread::scope(|scope| {
        let late = scope.spawn(|| bench.project(older));
        // It is read from here on.
        let mut writer = fs::File::options().write(true).open(&held).unwrap();
        let newer = bench.deliver();
        bench.project(newer).unwrap();
        io::Write::write_all(&mut writer, b"late").unwrap();
        drop(writer);
        late.join().unwrap().unwrap();
        newer
    });
    assert!(bench.holds(newer));
    let manifest = bench.manifest(newer).unwrap();
    // Nor does what begins late.
    fs::remove_file(&held).unwrap();
    fs::write(&held, "late").unwrap();
    bench.project(older).unwrap();
    assert!(bench.holds(newer));
    assert_eq!(bench.manifest(older).unwrap(), manifest);
}

#[test]
fn trust_that_is_switched_twice_while_it_is_read_is_read_anew() {
    let bench = Bench::new();
    let generation = bench.deliver();
    let held = fs::canonicalize(bench.path("id/trust/current")).unwrap().join("agents.internal.crl.pem");
    pipe(&held);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| bench.project(generation));
        let mut writer = fs::File::options().write(true).open(&held).unwrap();
        // The version that it began with is swept.
        for sequence in [2, 3] {
            let bundles = [bench.ca.bundle().with_sequence(sequence), bench.partner()];
            directory::deliver_trust(&bench.path("id"), &bundles, &bench.crls()).unwrap();
        }
        assert!(!held.exists());
        io::Write::write_all(&mut writer, b"late").unwrap();
        drop(writer);
        reading.join().unwrap().unwrap();
    });
    for name in ["ca.crt", PARTNER, "agents.internal.crl.pem"] {
        let read = |place: &str| fs::read(bench.path(place).join(name)).unwrap();
        assert_eq!(read("volume"), read("id/trust/current"), "{name}");
    }
}

#[test]
fn a_projection_that_somebody_harmed_is_mended() {
    let bench = Bench::new();
    let generation = bench.deliver();
    bench.project(generation).unwrap();
    let data = bench.path("volume/..data");
    let target = fs::canonicalize(&data).unwrap();
    fs::remove_file(data.join("tls.key")).unwrap();
    fs::write(data.join(COMBINED), "half").unwrap();
    fs::write(data.join("tls.crt.new"), "half").unwrap();
    bench.project(generation).unwrap();
    assert!(bench.holds(generation) && !data.join("tls.crt.new").exists());
    assert_eq!(fs::canonicalize(&data).unwrap(), target, "whoever reads in it is not disturbed");
}
