//! Where things are: the workspace, its target directory, the tracked files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::Program;
use crate::leaks::Watch;

/// What every step needs to know.
#[derive(Debug)]
pub(crate) struct Context {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, which also keeps the peers and tools between runs.
    pub(crate) target: PathBuf,
    /// Whether Debian packages may be installed.
    pub(crate) system: bool,
    /// Where everything that the run writes is kept, where tokens are looked for in it.
    pub(crate) watch: Option<Watch>,
}

impl Context {
    pub(crate) fn find(system: bool) -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace's root")?.to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |set| root.join(set));
        Ok(Self { root, target, system, watch: None })
    }

    /// `cargo` in the workspace's root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Program {
        Program::new("cargo").args(arguments).directory(&self.root)
    }

    /// [`Self::cargo`] for what has tokens: what it says and writes is kept for the step `leaks`.
    pub(crate) fn watched_cargo(&self, arguments: &[&str]) -> Program {
        let cargo = self.cargo(arguments);
        match &self.watch {
            Some(watch) => watch.over(cargo),
            None => cargo,
        }
    }

    /// Where the third-party peers live between runs.
    pub(crate) fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// The release binary, as `cargo build --release` leaves it.
    pub(crate) fn binary(&self) -> PathBuf {
        self.target.join("release/countermark")
    }

    /// The files that git tracks, relative to the root.
    pub(crate) fn tracked(&self) -> Result<Vec<PathBuf>> {
        let listed = Program::new("git").args(["ls-files", "-z"]).directory(&self.root).output()?;
        Ok(listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|path| self.root.join(path).is_file())
            .collect())
    }
}
