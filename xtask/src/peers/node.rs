//! The TypeScript SDKs, the npm servers and the conformance suite, on a Node 22 that npm brings along.

use std::path::Path;

use anyhow::Result;

use super::{copy, is_fresh, required, stamp};
use crate::command::Program;
use crate::context::Context;

pub(super) fn set_up(context: &Context, home: &Path) -> Result<()> {
    required("npm")?;
    copy(context, "typescript", home, &["package.json", "package-lock.json"])?;
    let recipe = std::fs::read_to_string(home.join("package-lock.json"))?;
    if is_fresh(home, &recipe) {
        return Ok(());
    }
    Program::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .directory(home)
        .run()?;
    stamp(home, &recipe)
}
