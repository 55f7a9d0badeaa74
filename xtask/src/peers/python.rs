//! The Python SDK and pkilint at exact versions: in a virtual environment, else in a folder of packages.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use super::{is_fresh, required, stamp};
use crate::command::Program;
use crate::context::Context;

pub(super) fn set_up(context: &Context, home: &Path) -> Result<()> {
    required("python3")?;
    let pins = context.root.join("tests/peers/python/requirements.txt");
    let version = Program::new("python3").args(["--version"]).output()?;
    let recipe = version + &std::fs::read_to_string(&pins)?;
    if is_fresh(home, &recipe) {
        return Ok(());
    }
    install(home, &[OsStr::new("-r"), pins.as_os_str()])?;
    stamp(home, &recipe)
}

/// The tests start `HOME/bin/python3` or, without a virtual environment, `python3` with `HOME/packages` on its path.
pub(super) fn install(home: &Path, what: &[&OsStr]) -> Result<()> {
    let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let environment = Program::new("python3").args(["-m", "venv", "--clear"]).args([home]).run();
    if environment.is_ok() {
        return Program::new(home.join("bin/python3")).args(flags).args(what).run();
    }
    Program::new("python3").args(flags).arg_path("--target", &home.join("packages")).args(what).run()
}
