//! `cargo xtask bench --authority`: certificates a second, beside cfssl with the same requests in the same run, with an empty
//! inventory and a full one; and how long guard takes to start on a long revocation list.
//!
//! Both record what they issue in SQLite on the same disk, and both demand the same client certificates.

mod inventory;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::estate::on_core;
use super::process::{Server, start};
use super::table::median;
use super::{BenchArguments, Binaries};
use crate::command::{Program, Skip, find};
use crate::context::Context;

const OURS: &str = "countermark ca serve";
const CFSSL: &str = "cfssl serve";
const LANES: usize = 32;

pub(super) fn run(context: &Context, binaries: Binaries, arguments: &BenchArguments) -> Result<()> {
    let place = Place::new(context, binaries)?;
    let mut rows = Vec::new();
    {
        let mut servers = vec![place.countermark()?];
        match place.cfssl() {
            Ok(server) => servers.push(server),
            Err(error) if error.is::<Skip>() => println!("SKIP {CFSSL}: {error:#}"),
            Err(error) => return Err(error),
        }
        rows.extend(place.measure(&servers, arguments, "")?);
    }
    inventory::fill(&place.path("ca"), arguments.rows)?;
    let full = place.countermark()?;
    rows.extend(place.measure(std::slice::from_ref(&full), arguments, &format!(", {} rows", arguments.rows))?);
    drop(full);
    println!("\n| authority | what | µs of CPU each | a second and core |\n|---|---|---:|---:|");
    for Row { server, what, seconds } in rows {
        println!("| {server} | {what} | {:.0} | {:.0} |", seconds * 1e6, 1.0 / seconds);
    }
    place.long_list(arguments.revoked)
}

/// The median over the rounds.
struct Row {
    server: &'static str,
    what: String,
    seconds: f64,
}

/// What both authorities share: clients with certificates, and their requests.
struct Place {
    folder: PathBuf,
    binaries: Binaries,
}

impl Place {
    fn new(context: &Context, binaries: Binaries) -> Result<Self> {
        let folder = context.target.join("bench-authority");
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder)?;
        let place = Self { folder, binaries };
        place.verb(&["ca", "init", "--dir", "ca", "--trust-domain", "agents.internal", "--plaintext-key"])?;
        place.verb(&[
            "mint",
            "server",
            "cfssl",
            "--ca",
            "ca",
            "--out",
            "cfssl",
            "--dns",
            "localhost",
            "--ttl",
            "24h",
        ])?;
        for lane in 0..LANES {
            let name = format!("lane-{lane}");
            place.verb(&["mint", "agent", &name, "--ca", "ca", "--out", &name, "--ttl", "24h"])?;
            place.request(&name)?;
        }
        Ok(place)
    }

    /// A key that OpenSSL makes, and a request for it.
    fn request(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        let uri = format!("subjectAltName=URI:spiffe://agents.internal/agent/{name}");
        let (subject, out) = (format!("/CN={name}"), format!("{name}.csr"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-addext", &uri, "-out", &out])
    }

    fn key(&self, name: &str) -> Result<String> {
        let file = format!("{name}.key.pem");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &file])?;
        Ok(file)
    }

    fn openssl(&self, words: &[&str]) -> Result<()> {
        Program::new("openssl").args(words).directory(&self.folder).output().map(drop)
    }

    fn countermark(&self) -> Result<Server> {
        let mut serve = on_core(0, &self.binaries.countermark);
        serve.current_dir(&self.folder).args(["ca", "serve", "--dir", "ca", "--listen", "127.0.0.1:0"]);
        serve.args(["--dns", "localhost", "--max-per-identity", "4000000000"]);
        Server::named(OURS, &mut serve, None)
    }

    /// cfssl with a CA of its own, our clients, and its own tables.
    fn cfssl(&self) -> Result<Server> {
        let cfssl = find("cfssl").ok_or_else(|| Skip("cfssl is not installed: golang-cfssl in Debian".to_owned()))?;
        let key = self.key("cfssl-ca")?;
        let ca = ["-x509", "-days", "30", "-subj", "/CN=cfssl", "-out", "cfssl-ca.pem"];
        self.openssl(&[&["req", "-new", "-key", &key], ca.as_slice()].concat())?;
        inventory::of_cfssl(&self.path("cfssl.db"))?;
        std::fs::write(self.path("cfssl.json"), CFSSL_CONFIG)?;
        std::fs::write(self.path("cfssl-db.json"), r#"{"driver":"sqlite3","data_source":"cfssl.db"}"#)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut serve = on_core(0, &cfssl);
        serve.current_dir(&self.folder).args(["serve", "-address", "127.0.0.1", "-port", &port.to_string()]);
        serve.args(["-ca", "cfssl-ca.pem", "-ca-key", &key, "-config", "cfssl.json", "-loglevel", "3"]);
        serve.args(["-db-config", "cfssl-db.json", "-tls-cert", "cfssl/tls.crt", "-tls-key", "cfssl/tls.key"]);
        serve.args(["-mutual-tls-ca", "cfssl/ca.crt"]);
        Server::named(CFSSL, &mut serve, Some(format!("https://localhost:{port}")))
    }

    fn measure(&self, servers: &[Server], arguments: &BenchArguments, suffix: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (what, handshakes) in [("kept connections", false), ("a handshake each", true)] {
            let mut measured = vec![Vec::new(); servers.len()];
            for round in 0..arguments.rounds {
                for (server, seen) in servers.iter().zip(&mut measured) {
                    let before = server.cpu()?;
                    let done = self.load(server, arguments.seconds, handshakes)?;
                    let each = (server.cpu()? - before).as_secs_f64() / done.max(1) as f64;
                    println!("round {round}: {}, {what}{suffix}: {done}, {:.0} µs each", server.name, each * 1e6);
                    seen.push(each);
                }
            }
            for (server, seen) in servers.iter().zip(measured) {
                let seconds = median(seen).context("at least one round")?;
                rows.push(Row { server: server.name, what: format!("{what}{suffix}"), seconds });
            }
        }
        Ok(rows)
    }

    fn load(&self, server: &Server, seconds: f64, handshakes: bool) -> Result<u64> {
        let api = if server.name == OURS { "est" } else { "cfssl" };
        let mut load = on_core(1, &self.binaries.bench);
        load.args(["issue", api, "--url", &server.url, "--lanes", &LANES.to_string(), "--folder"]).arg(&self.folder);
        load.args(["--seconds", &seconds.to_string()]).args(handshakes.then_some("--handshakes"));
        let output = load.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        said.trim().parse().with_context(|| format!("{} under load", server.name))
    }

    /// From the start of guard to its first line that says that it serves, with a short list and with a long one.
    fn long_list(&self, entries: usize) -> Result<()> {
        std::fs::write(self.path("policy.toml"), "version = 1\ntrust_domain = \"agents.internal\"\n")?;
        let short = self.guard_starts()?;
        inventory::revoke(&self.path("ca"), entries)?;
        let signing = Instant::now();
        self.verb(&["ca", "crl", "--ca", "ca"])?;
        let signed = signing.elapsed();
        let size = std::fs::metadata(self.path("ca/crl.pem"))?.len();
        let long = self.guard_starts()?;
        println!(
            "\na list of {entries}: signed in {:.0} ms, {:.1} MB; guard serves after {:.0} ms with it, {:.0} ms without",
            millis(signed),
            size as f64 / 1e6,
            millis(long),
            millis(short)
        );
        Ok(())
    }

    /// The median of five starts.
    fn guard_starts(&self) -> Result<Duration> {
        let mut taken = Vec::new();
        for _ in 0..5 {
            let mut guard = Command::new(&self.binaries.countermark);
            guard.current_dir(&self.folder).args(["guard", "--listen", "127.0.0.1:0", "--upstream"]);
            guard.args([
                "http://127.0.0.1:9/mcp",
                "--identity",
                "cfssl",
                "--policy",
                "policy.toml",
                "--crl",
                "ca/crl.pem",
            ]);
            let begun = Instant::now();
            let (mut child, url) = start(&mut guard, true)?;
            taken.push(begun.elapsed().as_secs_f64());
            child.kill()?;
            child.wait()?;
            if url.is_none() {
                bail!("guard does not start");
            }
        }
        Ok(Duration::from_secs_f64(median(taken).context("five starts")?))
    }

    fn verb(&self, words: &[&str]) -> Result<()> {
        Program::new(&self.binaries.countermark).args(words).directory(&self.folder).output().map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name))
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

const CFSSL_CONFIG: &str = r#"{"signing":{"default":{"expiry":"24h","backdate":"1m",
"usages":["digital signature","client auth","server auth"]}}}"#;
