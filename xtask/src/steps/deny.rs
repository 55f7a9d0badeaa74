//! cargo-deny, at a pinned version of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{Program, twice};
use crate::context::Context;
use crate::report::Row;

/// The version that the rules of `deny.toml` are written for.
const VERSION: &str = "0.20.2";

pub(super) fn run(context: &Context) -> Result<Vec<Row>> {
    let tool = install(context)?;
    // cargo-deny reads the manifests of every platform's crates, most of which no build has fetched.
    twice(|| context.cargo(&["fetch", "--locked", "--quiet"]).run())?;
    check(context, &tool, &["bans", "licenses", "sources"])?;
    let mut rows = vec![Row::passed("deny", "")];
    if database().is_some() {
        check(context, &tool, &["advisories"])?;
        rows.push(Row::passed("deny: advisories", ""));
    } else {
        println!("no advisory database at hand: advisories are not looked at");
    }
    Ok(rows)
}

fn check(context: &Context, tool: &Path, checks: &[&str]) -> Result<()> {
    Program::new(tool)
        .args(["--offline", "--workspace", "--all-features", "--locked", "check", "--hide-inclusion-graph"])
        .args(checks)
        .directory(&context.root)
        .run()
}

/// Builds the tool into the target directory, once; unoptimised, since it takes seconds either way.
fn install(context: &Context) -> Result<PathBuf> {
    let home = context.target.join("tools");
    let tool = home.join(format!("cargo-deny-{VERSION}"));
    let binary = tool.join("bin/cargo-deny");
    if !binary.is_file() {
        twice(|| {
            context
                .cargo(&["install", "cargo-deny", "--locked", "--debug", "--quiet"])
                .args(["--version", &format!("={VERSION}")])
                .arg_path("--root", &tool)
                .env("CARGO_TARGET_DIR", home.join("build"))
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .run()
        })?;
        // What it was built from is of no more use.
        std::fs::remove_dir_all(home.join("build")).ok();
    }
    Ok(binary)
}

/// The clone of the advisory database that cargo-deny left here, if it ever could.
fn database() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let known = home.join("advisory-dbs");
    std::fs::read_dir(known).ok()?.flatten().map(|entry| entry.path()).next()
}
