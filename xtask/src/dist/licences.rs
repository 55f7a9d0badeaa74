//! Whose code is in the binary, and under which licence, with the licences' texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::context::Context;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

/// One text for the archive: a list of packages, then each licence's text once with those that bring it.
pub(super) fn collect(context: &Context, target: &str) -> Result<String> {
    let tree = ["tree", "--locked", "--package", "countermark-cli", "--edges", "normal", "--prefix", "none"];
    let tree = context.cargo(&tree).args(["--format", "{p}", "--target", target]).output()?;
    let linked = linked(&tree);
    let metadata = context.cargo(&["metadata", "--locked", "--format-version", "1"]).output()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages: Vec<Package> = metadata
        .packages
        .into_iter()
        .filter(|package| package.source.is_some())
        .filter(|package| linked.contains(&(package.name.clone(), package.version.clone())))
        .collect();
    text(&packages)
}

/// Name and version of each line of `cargo tree`.
fn linked(tree: &str) -> BTreeSet<(String, String)> {
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    tree.lines().filter_map(package).collect()
}

fn text(packages: &[Package]) -> Result<String> {
    let mut all = String::from("countermark contains these packages, each under its own licence:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        all.push_str(&format!("  {name}: {}\n", package.license.as_deref().unwrap_or("see its text below")));
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        for licence in licence_files(folder)? {
            let text = String::from_utf8_lossy(&std::fs::read(&licence)?).trim().replace("\r\n", "\n");
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        all.push_str(&format!("\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join(", ")));
    }
    Ok(all)
}

fn licence_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut found = Vec::new();
    for entry in read {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = NAMES.iter().any(|start| name.starts_with(start));
        if is_licence && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_names_packages() {
        let linked =
            linked("countermark-cli v0.1.0 (/x)\nserde v1.0.1\nserde v1.0.1 (*)\nring-like v2.0.0 (proc-macro)\n");
        let names: Vec<_> = linked.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(names, ["countermark-cli 0.1.0", "ring-like 2.0.0", "serde 1.0.1"]);
    }

    #[test]
    fn a_text_that_two_bring_stands_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let packages = ["a", "b"].map(|name| {
            let home = folder.path().join(name);
            std::fs::create_dir(&home).unwrap();
            std::fs::write(home.join("LICENSE-MIT"), "Permission is hereby granted\r\n").unwrap();
            Package {
                name: name.to_owned(),
                version: "1.0.0".to_owned(),
                license: Some("MIT".to_owned()),
                source: Some("registry".to_owned()),
                manifest_path: home.join("Cargo.toml"),
            }
        });
        let text = text(&packages).unwrap();
        assert_eq!(text.matches("Permission is hereby granted").count(), 1);
        assert!(text.contains("  a 1.0.0: MIT\n") && text.contains("\na 1.0.0, b 1.0.0\n"), "{text}");
    }
}
