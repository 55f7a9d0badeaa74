//! The conformance suite of the protocol, on our rmcp fixture: straight, and through connect and guard.
//!
//! What passes is pinned by check id in `conformance/*.txt`. A pinned check that no longer passes is a failure, on the straight
//! way, too: the pins would otherwise say nothing. `COUNTERMARK_PIN=1` writes the files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::estate::{Estate, Upstream};
use super::set_up;
use crate::program::{Running, run};

/// Which way the suite's requests take.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    ThroughConnectAndGuard,
}

#[test]
fn of_2025_11_25_directly() -> Result<()> {
    conforms("2025-11-25", Way::Direct)
}

#[test]
fn of_2025_11_25_through_connect_and_guard() -> Result<()> {
    conforms("2025-11-25", Way::ThroughConnectAndGuard)
}

#[test]
fn of_2026_07_28_directly() -> Result<()> {
    conforms("2026-07-28", Way::Direct)
}

#[test]
fn of_2026_07_28_through_connect_and_guard() -> Result<()> {
    conforms("2026-07-28", Way::ThroughConnectAndGuard)
}

fn conforms(era: &str, way: Way) -> Result<()> {
    let (Some(binary), Some(fixture)) = (set_up::countermark(), set_up::fixture()) else {
        return Ok(());
    };
    let Some((node, home)) = set_up::node() else {
        return Ok(());
    };
    let mut server = Running::start(Command::new(fixture).arg("server"))?;
    let url = server.url()?;
    let estate;
    let mut between = None;
    let url = match way {
        Way::Direct => url,
        Way::ThroughConnectAndGuard => {
            estate = Estate::new(&binary, EVERYTHING)?;
            let (guard, url) = estate.guard(&Upstream::Url(url))?;
            let (connect, url) = estate.connect_listening(&url)?;
            between = Some((guard, connect));
            url
        }
    };
    let output = tempfile::tempdir()?;
    let mut suite = Command::new(node);
    suite.arg(home.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    suite.args(["server", "--url", &url, "--requirements", era, "-o"]);
    let ended = run(suite.arg(output.path()).current_dir(&home))?;
    drop(between);
    let passed = passed(output.path())?;
    ensure!(!passed.is_empty(), "the suite wrote nothing: {ended:?}");
    let name = match way {
        Way::Direct => format!("{era}-direct.txt"),
        Way::ThroughConnectAndGuard => format!("{era}-through.txt"),
    };
    compare(&set_up::sources().join("conformance").join(name), &passed)
}

/// The checks that passed, as `scenario:check`, once however often it was made; one failure makes it failed.
fn passed(output: &Path) -> Result<BTreeSet<String>> {
    let mut checks = BTreeMap::new();
    for folder in std::fs::read_dir(output)? {
        let folder = folder?;
        let name = folder.file_name().into_string().unwrap_or_default();
        let Ok(text) = std::fs::read_to_string(folder.path().join("checks.json")) else {
            continue;
        };
        let found: Vec<Value> = serde_json::from_str(&text)?;
        for check in found {
            let id = format!("{}:{}", scenario(&name), check["id"].as_str().unwrap_or_default());
            let passed = checks.entry(id).or_insert(true);
            *passed &= check["status"] == "SUCCESS";
        }
    }
    let passed = checks.into_iter().filter(|(_, passed)| *passed);
    Ok(passed.map(|(id, _)| id).collect())
}

/// `server-SCENARIO-2026-11-23T07-26-48-779Z` without its ends.
fn scenario(folder: &str) -> &str {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    let end = name.len().saturating_sub("-2026-11-23T07-26-48-779Z".len());
    name.get(..end).unwrap_or(name)
}

fn compare(pins: &Path, passed: &BTreeSet<String>) -> Result<()> {
    if std::env::var_os("COUNTERMARK_PIN").is_some() {
        let mut text: String = passed.iter().map(|id| format!("{id}\n")).collect();
        text.insert_str(0, "# What passes, by scenario and check; COUNTERMARK_PIN=1 writes this file.\n");
        return Ok(std::fs::write(pins, text)?);
    }
    let text = std::fs::read_to_string(pins).with_context(|| pins.display().to_string())?;
    let pinned: BTreeSet<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let lost: Vec<_> = pinned.iter().filter(|id| !passed.contains(**id)).collect();
    ensure!(lost.is_empty(), "pinned in {} and no longer passed: {lost:#?}", pins.display());
    for id in passed.iter().filter(|id| !pinned.contains(id.as_str())) {
        println!("passes and is not pinned: {id}");
    }
    Ok(())
}

/// Everything that the suite asks for, to the agent that asks.
const EVERYTHING: &str = r#"tools = ["*"]
prompts = ["*"]
resources = ["*"]
methods = ["logging/setLevel"]"#;
