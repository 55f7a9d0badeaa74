//! Programs that come from the distribution.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::{Program, Skip, find};
use crate::context::Context;

/// A program and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("certtool", "gnutls-bin"),
    ("cfssl", "golang-cfssl"),
    ("curl", "curl"),
    ("faketime", "faketime"),
    ("haproxy", "haproxy"),
    ("java", "default-jdk-headless"),
    ("mvn", "maven"),
    ("nginx", "nginx-light"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
    ("systemd-analyze", "systemd"),
];

/// Tells Debian's maintainer scripts that no service may be started.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// With `--system`, installs what is missing; without, each test that needs a program says so itself.
pub(super) fn set_up(context: &Context, _: &Path) -> Result<()> {
    let missing = || PROGRAMS.iter().filter(|(program, _)| find(program).is_none());
    if context.system && missing().next().is_some() {
        if find("apt-get").is_none() {
            return Err(Skip("apt-get is not installed".to_owned()).into());
        }
        let packages: Vec<_> = missing().map(|(_, package)| *package).collect();
        install(&packages)?;
    }
    for (program, package) in missing() {
        println!("{program} is missing; `--system` installs it from {package}");
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let placed = forbid_services()?;
    let installed = apt(&["update", "--quiet=2"]).and_then(|()| {
        let flags = ["install", "--yes", "--quiet=2", "--no-install-recommends"];
        apt(&[&flags, packages].concat())
    });
    if placed {
        std::fs::remove_file(POLICY).with_context(|| format!("{POLICY} cannot be removed"))?;
    }
    installed
}

fn apt(arguments: &[&str]) -> Result<()> {
    Program::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").run()
}

/// Whether we placed the file: one that is there already is its owner's.
fn forbid_services() -> Result<bool> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
    match file {
        Ok(mut file) => {
            std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).context("Debian packages need root: run as root, or leave --system out"),
    }
}
