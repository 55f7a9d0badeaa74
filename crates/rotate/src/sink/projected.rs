//! A directory as Kubernetes projects volumes: `..data` leads to the one that counts, the names lead through it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use countermark_credential::directory::replace_file_as;

use crate::config::CredentialEntry;

/// Copies the files of the current generation to `dir`, switched by one rename of `..data`.
pub(crate) fn project(entry: &CredentialEntry, generation: u64, dir: &Path) -> Result<(), String> {
    let source = entry.directory.join("generations").join(generation.to_string());
    write(entry, &source, generation, dir)
        .map_err(|error| format!("cannot project {} to {}: {error}", source.display(), dir.display()))
}

fn write(entry: &CredentialEntry, source: &Path, generation: u64, dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    // Other roots or lists make another projection of the same generation.
    let trust = entry.directory.join("trust");
    let version = fs::read_link(trust.join("current"))?;
    let version = version.file_name().and_then(|version| version.to_str()).unwrap_or_default();
    let name = format!("..{generation}_{version}");
    let target = dir.join(&name);
    if fs::read_link(dir.join(DATA)).is_ok_and(|link| link == Path::new(&name)) {
        return link_names(&target, dir);
    }
    if target.exists() {
        // Half of it, from a process that was killed.
        fs::remove_dir_all(&target)?;
    }
    DirBuilder::new().mode(0o755).create(&target)?;
    copy(entry, source, &target, |_| true)?;
    // A generation holds the roots of its delivery, which may be older, and no revocation lists, without which nobody is believed.
    copy(entry, &trust.join("versions").join(version), &target, |_| true)?;
    File::open(&target)?.sync_all()?;
    link(Path::new(&name), &dir.join(DATA))?;
    link_names(&target, dir)?;
    File::open(dir)?.sync_all()?;
    sweep(dir, &name);
    Ok(())
}

fn copy(entry: &CredentialEntry, from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_name().to_str().is_some_and(&wanted) {
            let content = zeroize::Zeroizing::new(fs::read(file.path())?);
            replace_file_as(&to.join(file.file_name()), &content, entry.access).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// The names that readers use lead through `..data`.
fn link_names(target: &Path, dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(target)? {
        let name = file?.file_name();
        link(&Path::new(DATA).join(&name), &dir.join(&name))?;
    }
    Ok(())
}

/// Makes `link` lead to `target` by one rename.
fn link(target: &Path, link: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let mut name = std::ffi::OsString::from("..");
    name.push(link.file_name().unwrap_or_default());
    name.push("_tmp");
    let fresh = link.with_file_name(name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &fresh)?;
    fs::rename(&fresh, link)
}

/// Removes every earlier directory but the last.
fn sweep(dir: &Path, current: &str) {
    let number = |name: &str| {
        let (generation, version) = name.strip_prefix("..")?.split_once('_')?;
        Some((generation.parse::<u64>().ok()?, version.parse::<u64>().ok()?))
    };
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut old: Vec<(u64, u64)> = entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    old.retain(|old| Some(*old) != number(current));
    old.sort_unstable();
    old.pop();
    for (generation, version) in old {
        // Best effort: what cannot be removed now is tried again at the next delivery.
        let _swept_later = fs::remove_dir_all(dir.join(format!("..{generation}_{version}")));
    }
}

const DATA: &str = "..data";
