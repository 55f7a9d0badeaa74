//! The third-party programs: each is set up into the target directory, then the tests of `tests/main.rs` use them.
//!
//! What cannot be set up leaves `NAME.missing` with the reason beside the others, which the tests report as their skip.

mod debian;
mod envoy;
mod java;
mod keycloak;
mod node;
mod python;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::command::{Skip, twice};
use crate::context::Context;
use crate::report::Row;
use crate::steps::LibTest;

pub(crate) use envoy::binary as envoy;

/// One set of peers: its folder under `tests/peers` and under the target directory, and how it gets there.
struct Peer {
    name: &'static str,
    set_up: fn(&Context, &Path) -> Result<()>,
}

const PEERS: &[Peer] = &[
    Peer { name: "debian", set_up: debian::set_up },
    Peer { name: "typescript", set_up: node::set_up },
    Peer { name: "python", set_up: python::set_up },
    Peer { name: "envoy", set_up: envoy::set_up },
    Peer { name: "java", set_up: java::set_up },
    Peer { name: "keycloak", set_up: keycloak::set_up },
    Peer { name: "rmcp", set_up: rmcp },
];

pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    set_up(context)?;
    if !context.binary().is_file() {
        context.cargo(&["build", "--release", "--bin", "countermark"]).run()?;
    }
    let (output, succeeded) = context
        .watched_cargo(&["test", "--workspace", "--all-features", "--test", "main", "--", "peers::", "--show-output"])
        .env("COUNTERMARK_PEERS_DIR", context.peers())
        .env("COUNTERMARK_BIN", context.binary())
        .tee()?;
    let tests = LibTest::parse(&output);
    if tests.total() == 0 && succeeded {
        bail!("no test uses the peers");
    }
    tests.rows("peers", succeeded)
}

/// Sets every peer up, or says in its place why not.
pub(crate) fn set_up(context: &Context) -> Result<()> {
    for peer in PEERS {
        let home = context.peers().join(peer.name);
        let missing = context.peers().join(format!("{}.missing", peer.name));
        std::fs::create_dir_all(&home)?;
        match twice(|| (peer.set_up)(context, &home)) {
            Ok(()) if missing.exists() => std::fs::remove_file(&missing)?,
            Ok(()) => {}
            Err(error) => {
                println!("! {}: {error:#}", peer.name);
                std::fs::write(&missing, format!("{error:#}"))?;
            }
        }
    }
    Ok(())
}

/// Copies the named files of a peer's folder into its home.
fn copy(context: &Context, peer: &str, home: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let from = context.root.join("tests/peers").join(peer).join(name);
        let to = home.join(name);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(&from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
    }
    Ok(())
}

/// Whether `home` was set up from exactly `recipe`.
fn is_fresh(home: &Path, recipe: &str) -> bool {
    std::fs::read_to_string(home.join(STAMP)).is_ok_and(|stamp| stamp == recipe)
}

/// Remembers what `home` was set up from; written last.
fn stamp(home: &Path, recipe: &str) -> Result<()> {
    Ok(std::fs::write(home.join(STAMP), recipe)?)
}

fn required(program: &str) -> Result<()> {
    match crate::command::find(program) {
        Some(_) => Ok(()),
        None => Err(Skip(format!("{program} is not installed")).into()),
    }
}

/// Our own fixture over rmcp: a server and a client that know nothing of Countermark. A test is named beside it, since the
/// libraries have other features where none is built, and would be compiled once more.
fn rmcp(context: &Context, home: &Path) -> Result<()> {
    let build = ["build", "--workspace", "--all-features", "--bin", FIXTURE, "--test", "main"];
    context.cargo(&build).run()?;
    std::fs::copy(context.target.join("debug").join(FIXTURE), home.join(FIXTURE))?;
    Ok(())
}

const FIXTURE: &str = "countermark-peers-rmcp";
const STAMP: &str = "set-up-from";
