//! nginx, HAProxy and Envoy serve what `rotate` delivers: reloaded by hook, looked at by the probe, under load.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::estate::Estate;
use super::rotation::{Rotation, of_directory};
use super::set_up;
use crate::program::{Running, succeed};

/// What serves the certificate, and how it is told of another.
#[derive(Clone, Copy, Debug)]
struct Consumer {
    /// Its configuration: FOLDER is the estate, PORT where it listens.
    template: &'static str,
    /// What stands before the configuration's file on its command line.
    flags: &'static [&'static str],
    /// What else the credential needs, and the hook.
    delivery: &'static str,
    hook: &'static str,
    /// What it says each time that it has loaded its configuration, where it loses a signal that comes before.
    loaded: Option<&'static str>,
}

const NGINX: Consumer = Consumer {
    template: include_str!("consumers/nginx.conf"),
    flags: &["-c"],
    delivery: "",
    hook: "signal = \"HUP\"\npid-file = \"consumer.pid\"\n",
    loaded: None,
};

const HAPROXY: Consumer = Consumer {
    template: include_str!("consumers/haproxy.conf"),
    flags: &["-W", "-p", "consumer.pid", "-f"],
    delivery: "combined = true\n",
    hook: "signal = \"USR2\"\npid-file = \"consumer.pid\"\n",
    loaded: Some("Loading success"),
};

/// The hook names the generation's own files in the SDS file, and moves that to where Envoy watches for it.
const ENVOY: Consumer = Consumer {
    template: include_str!("consumers/envoy.yaml"),
    flags: &["--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c"],
    delivery: "",
    hook: "run = [\"sh\", \"-c\", 'sed \"s|IDENTITY|$COUNTERMARK_GENERATION_DIRECTORY|\" \"$SDS/template\" > \"$SDS/next\" && \
           mv \"$SDS/next\" \"$SDS/sds.yaml\"']\nenv = { SDS = \"FOLDER/sds\" }\n",
    loaded: None,
};

#[test]
fn nginx_is_reloaded_and_looked_at() -> Result<()> {
    let Some(nginx) = set_up::installed("nginx") else { return Ok(()) };
    serves(NGINX, &nginx)
}

#[test]
fn haproxy_is_reloaded_and_looked_at() -> Result<()> {
    let Some(haproxy) = set_up::installed("haproxy") else { return Ok(()) };
    serves(HAPROXY, &haproxy)
}

#[test]
fn envoy_is_reloaded_and_looked_at() -> Result<()> {
    let Some(envoy) = set_up::envoy() else { return Ok(()) };
    serves(ENVOY, &envoy)
}

/// Envoy can also watch the identity directory, where one rename switches everything: then it needs no hook.
#[test]
fn envoy_follows_the_directory_by_itself() -> Result<()> {
    let (Some(binary), Some(envoy)) = (set_up::countermark(), set_up::envoy()) else { return Ok(()) };
    let place = Place::new(&binary, ENVOY)?;
    let watching = "        watched_directory: { path: IDENTITY }\n";
    place.write_sds(&(SDS.to_owned() + watching))?;
    let _envoy = place.start(ENVOY, &envoy)?;
    let rotation = place.rotation("rotate.toml", ENVOY, false)?;
    for _ in 0..ROUNDS {
        let renewed = rotation.renew("web")?;
        rotation.succeeded("web", renewed["serial"].as_str().context("a serial")?)?;
    }
    Ok(())
}

/// An estate with room for one consumer.
struct Place {
    estate: Estate,
    port: u16,
}

/// Rotates three times under load, then without the hook.
fn serves(consumer: Consumer, program: &Path) -> Result<()> {
    let (Some(binary), Some(python)) = (set_up::countermark(), set_up::python()) else { return Ok(()) };
    let place = Place::new(&binary, consumer)?;
    place.write_sds(SDS)?;
    let mut running = place.start(consumer, program)?;
    let mut loaded = || match consumer.loaded {
        Some(said) => running.wait_for(|line| line.contains(said).then_some(())),
        None => Ok(()),
    };
    loaded()?;
    let mut load = place.load(python)?;
    // It has not run this hook for the first generation, and does.
    let rotation = place.rotation("rotate.toml", consumer, true)?;
    loaded()?;
    let first = rotation.status("web")?["serial"].as_str().context("a serial")?.to_owned();
    seen(&mut load, &first)?;
    let mut serial = first;
    for _ in 0..ROUNDS {
        let renewed = rotation.renew("web")?;
        serial = renewed["serial"].as_str().context("a serial")?.to_owned();
        rotation.succeeded("web", &serial)?;
        seen(&mut load, &serial)?;
        loaded()?;
    }
    drop(rotation);
    place.without_a_hook(consumer, &serial)?;
    load.wait_for(|line| line.starts_with("visits ").then_some(()))?;
    let said = load.said();
    ensure!(!said.contains("failed"), "requests failed:\n{said}");
    Ok(())
}

impl Place {
    /// The first generation is there before the consumer starts, in every form.
    fn new(binary: &Path, consumer: Consumer) -> Result<Self> {
        let estate = Estate::new(binary, "tools = [\"*\"]")?;
        std::fs::create_dir(estate.path("sds"))?;
        let first = estate.path("first.toml");
        std::fs::write(&first, of_directory("web", "server/web", consumer.delivery))?;
        succeed(estate.countermark().args(["rotate", "--once", "--config"]).arg(first))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { estate, port })
    }

    fn fill(&self, template: &str) -> String {
        let folder = self.estate.path("").display().to_string();
        template.replace("PORT", &self.port.to_string()).replace("FOLDER", folder.trim_end_matches('/'))
    }

    /// The secret that Envoy reads, and the template of the next ones.
    fn write_sds(&self, text: &str) -> Result<()> {
        std::fs::write(self.estate.path("sds/template"), text)?;
        let identity = self.estate.path("web").display().to_string();
        Ok(std::fs::write(self.estate.path("sds/sds.yaml"), text.replace("IDENTITY", &identity))?)
    }

    fn start(&self, consumer: Consumer, program: &Path) -> Result<Running> {
        let file =
            self.estate.path(if consumer.template == ENVOY.template { "consumer.yaml" } else { "consumer.conf" });
        std::fs::write(&file, self.fill(consumer.template))?;
        let mut command = Command::new(program);
        command.current_dir(self.estate.path("")).args(consumer.flags).arg(file);
        let mut running = Running::start(&mut command)?;
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        anyhow::bail!("{} does not listen:\n{}", program.display(), running.said())
    }

    fn rotation(&self, name: &str, consumer: Consumer, hook: bool) -> Result<Rotation<'_>> {
        let probe = format!("probe = {{ address = \"127.0.0.1:{}\" }}\n", self.port);
        let hook = if hook { format!("\n[[credential.hook]]\n{}", self.fill(consumer.hook)) } else { String::new() };
        let text = of_directory("web", "server/web", &format!("{}{probe}{hook}", consumer.delivery));
        Rotation::start(&self.estate, name, &text)
    }

    /// Delivered but not served is no success, and is called what it is.
    fn without_a_hook(&self, consumer: Consumer, served: &str) -> Result<()> {
        let rotation = self.rotation("no-hook.toml", consumer, false)?;
        let before = rotation.status("web")?;
        let renewed = rotation.renew("web")?;
        let generation = renewed["generation"].clone();
        let stale = rotation
            .until("web", "a probe that sees the old serial", |status| status["duties"][0]["served"] == served)?;
        ensure!(stale["generation"] == generation && stale["duties"][0]["done"] == false, "{stale}");
        ensure!(stale["last_success"] == before["last_success"], "{before} {stale}");
        Ok(())
    }

    /// A client that opens a connection for each request and says which serials it was served.
    fn load(&self, mut python: Command) -> Result<Running> {
        python.arg(set_up::sources().join("python/visit.py")).arg(self.port.to_string());
        Running::start(python.arg(self.estate.path("billing-bot")))
    }
}

fn seen(load: &mut Running, serial: &str) -> Result<()> {
    let wanted = format!("serial {serial}");
    load.wait_for(|line| (line == wanted).then_some(())).with_context(|| format!("nobody served {serial}"))
}

const SDS: &str = include_str!("consumers/sds.yaml");
const ROUNDS: usize = 3;
