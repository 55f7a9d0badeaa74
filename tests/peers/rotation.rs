//! Rotation as its users see it: a daemon beside programs that are not ours.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::estate::Estate;
use super::set_up;
use crate::program::{Running, run_within, succeed};

/// A daemon that keeps the credentials of a configuration fresh.
#[derive(Debug)]
pub(super) struct Rotation<'a> {
    estate: &'a Estate,
    config: String,
    daemon: Running,
}

impl<'a> Rotation<'a> {
    /// Starts it on a file of this name and text.
    pub(super) fn start(estate: &'a Estate, name: &str, text: &str) -> Result<Self> {
        Self::start_in(estate, name, text, &[])
    }

    /// Likewise, with these variables in its environment.
    pub(super) fn start_in(estate: &'a Estate, name: &str, text: &str, environment: &[(&str, String)]) -> Result<Self> {
        let path = estate.path(name);
        std::fs::write(&path, text)?;
        let mut rotate = estate.countermark();
        rotate.args(["rotate", "--config"]).arg(&path).envs(environment.iter().map(|(name, value)| (name, value)));
        let mut daemon = Running::start(&mut rotate)?;
        daemon.wait_for(|line| line.contains("rotate runs").then_some(())).context("rotate")?;
        Ok(Self { estate, config: path.display().to_string(), daemon })
    }

    /// What `wanted` finds in the first line of its log that has it.
    pub(super) fn wait_for<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.daemon.wait_for(wanted)
    }

    /// How a credential stands.
    pub(super) fn status(&self, name: &str) -> Result<Value> {
        let mut ctl = self.estate.countermark();
        // Exit code 1 says that one of them cannot be used, which is told in the answer as well.
        let output = ctl.args(["ctl", "status", "--json", "--config", &self.config]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout).context("ctl status says no JSON")?;
        let all = status["credentials"].as_array().into_iter().flatten();
        all.into_iter().find(|one| one["name"] == name).cloned().with_context(|| format!("no {name}: {status}"))
    }

    /// Waits until it is so.
    pub(super) fn until(&self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let status = self.status(name)?;
            if so(&status) {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{what} does not come about: {status}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Has a credential renewed; how it stands once the next generation is delivered.
    pub(super) fn renew(&self, name: &str) -> Result<Value> {
        let before = self.status(name)?;
        let mut ctl = self.estate.countermark();
        succeed(ctl.args(["ctl", "renew", name, "--config", &self.config]))?;
        self.until(name, "the next generation", |status| status["serial"] != before["serial"])
    }

    /// Waits until the rotation to this serial has succeeded: every hook done, and the probe has seen it.
    pub(super) fn succeeded(&self, name: &str, serial: &str) -> Result<()> {
        let done = |status: &Value| {
            let duties = status["duties"].as_array().into_iter().flatten();
            status["serial"] == serial
                && status["last_success"].is_u64()
                && duties.into_iter().all(|duty| duty["done"] == true)
        };
        self.until(name, "a rotation that succeeded", done).map(drop)
    }
}

/// A credential of the estate's own directory.
pub(super) fn of_directory(name: &str, identity: &str, more: &str) -> String {
    format!(
        "version = 1\nsocket = \"{name}.sock\"\n\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n\n\
         [[credential]]\nname = \"{name}\"\nidentity = \"spiffe://agents.internal/{identity}\"\nissuer = \"ca\"\n\
         directory = \"{name}\"\ndns = [\"localhost\"]\nip = [\"127.0.0.1\"]\n{more}"
    )
}

#[test]
fn nothing_fails_on_certificates_of_thirty_seconds() -> Result<()> {
    let (Some(binary), Some(python), Some(_)) = (set_up::countermark(), set_up::python(), set_up::installed("nginx"))
    else {
        return Ok(());
    };
    let mut example = Command::new("python3");
    example.arg(set_up::examples().join("rotation/run.py")).args(["--for", "50s", "--binary"]).arg(binary);
    example.arg("--python").arg(python.get_program()).env("PYTHONDONTWRITEBYTECODE", "1");
    example.envs(python.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = run_within(&mut example, Duration::from_secs(150))?;
    ensure!(ended.succeeded && ended.stdout.contains("no request failed"), "{}\n{}", ended.stdout, ended.stderr);
    println!("{}", ended.stdout);
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
