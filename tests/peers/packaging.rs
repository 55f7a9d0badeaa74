//! What is shipped beside the binary, before the eyes of those who read it: systemd and the Kubernetes schemas.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::estate::Estate;
use super::set_up;
use crate::program::{Running, run, succeed};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// The files of a folder with this ending; a folder without any is a mistake.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let found: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    ensure!(!found.is_empty(), "{} has no .{ending}", folder.display());
    Ok(found)
}

#[test]
fn the_schemas_of_kubernetes_accept_the_manifests() -> Result<()> {
    let Some(mut python) = set_up::python() else { return Ok(()) };
    python.args(["-m", "kubernetes_validate", "--strict"]).args(files(&packaging().join("kubernetes"), "yaml")?);
    let said = succeed(&mut python)?;
    ensure!(!said.contains("ERROR"), "{said}");
    Ok(())
}

#[test]
fn systemd_accepts_the_units() -> Result<()> {
    let (Some(binary), Some(analyze)) = (set_up::countermark(), set_up::installed("systemd-analyze")) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut units = Vec::new();
    for unit in files(&packaging().join("systemd"), "service")? {
        let text = std::fs::read_to_string(&unit)?;
        ensure!(text.contains("ExecStart=/usr/bin/countermark "), "{} starts something else", unit.display());
        // The manual pages are installed with the units, and are not here.
        let lines = text.lines().filter(|line| !line.starts_with("Documentation="));
        let text = lines.collect::<Vec<_>>().join("\n").replace("/usr/bin/countermark", &binary.display().to_string());
        let copy = folder.path().join(unit.file_name().context("a name")?);
        std::fs::write(&copy, text)?;
        units.push(copy);
    }
    // What it does not like it says; its exit code speaks of units that cannot be loaded at all.
    let output = Command::new(analyze).arg("verify").args(&units).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && said.trim().is_empty(), "{said}");
    Ok(())
}

/// What the manifests tell our own programs, put before those programs.
#[test]
fn the_configuration_in_the_manifests_is_read() -> Result<()> {
    let (Some(binary), Some(mut python)) = (set_up::countermark(), set_up::python()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    python.args(["-c", UNPACK]).arg(folder.path()).args(files(&packaging().join("kubernetes"), "yaml")?);
    let written = succeed(&mut python)?;
    // What is missing is said with exit code 3, a configuration that cannot be meant with 2.
    let mut read = 0;
    for file in written.lines() {
        let mut command = Command::new(&binary);
        match Path::new(file).file_name().and_then(|name| name.to_str()).context("a name")? {
            "rotate.toml" => command.args(["ctl", "status", "--config", file]),
            "policy.toml" => command.args(["policy", "check", file]),
            "ca.toml" => command.args(["ca", "serve", "--config", file]),
            "enrol.toml" => continue,
            other => bail!("nobody reads {other}"),
        };
        let ended = run(&mut command)?;
        ensure!(ended.succeeded || !ended.stderr.contains(file), "{file}: {}", ended.stderr);
        ensure!(
            ended.succeeded || ended.stderr.contains("no rotation answers") || ended.stderr.contains("ca init"),
            "{file}: {}",
            ended.stderr
        );
        read += 1;
    }
    ensure!(read >= 4, "{written}");
    Ok(())
}

/// Rules of enrolment are read by an authority that starts, although nobody publishes the keys that they name.
#[test]
fn the_rules_of_enrolment_in_the_manifests_are_read() -> Result<()> {
    let (Some(binary), Some(mut python)) = (set_up::countermark(), set_up::python()) else { return Ok(()) };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    python.args(["-c", UNPACK]).arg(estate.path("")).arg(packaging().join("kubernetes/authority.yaml"));
    let written = succeed(&mut python)?;
    let rules = written.lines().find(|file| file.ends_with("enrol.toml")).context("enrol.toml")?;
    let mut serve = estate.countermark();
    serve.args(["ca", "serve", "--listen", "127.0.0.1:0", "--dns", "localhost", "--enrol", rules, "--dir"]);
    Running::start(serve.arg(estate.path("ca")))?.wait_for(|line| line.contains("the authority serves").then_some(()))
}

/// Writes each file of each ConfigMap, in a folder of its own, and prints where.
const UNPACK: &str = "
import pathlib, sys, yaml
for manifest in sys.argv[2:]:
    for document in yaml.safe_load_all(open(manifest)):
        if document['kind'] == 'ConfigMap':
            for name, text in document['data'].items():
                file = pathlib.Path(sys.argv[1], pathlib.Path(manifest).stem, name)
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
                print(file)
";
