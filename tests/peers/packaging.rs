//! What is shipped beside the binary, before the eyes of those who read it: systemd and the Kubernetes schemas.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::set_up;
use crate::program::succeed;

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
