//! A directory as Kubernetes projects volumes: `..data` leads to the one that counts, the names lead through it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use countermark_credential::directory::{Access, replace_file_as};
use zeroize::Zeroizing;

use super::{Files, delivered, is_current};
use crate::config::CredentialEntry;

/// Copies the files of the current generation to `dir`, switched by one rename of `..data`.
pub(crate) fn project(entry: &CredentialEntry, generation: u64, dir: &Path) -> Result<(), String> {
    write(entry, generation, dir).map_err(|error| {
        format!("cannot project generation {generation} of {} to {}: {error}", entry.directory.display(), dir.display())
    })
}

fn write(entry: &CredentialEntry, generation: u64, dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    if !is_current(entry, generation) {
        // The next one is projected on its own behalf.
        return Ok(());
    }
    let (version, files) = delivered(entry, generation)?;
    // Other roots, other lists or another keystore make another projection of the same generation.
    let name = format!("..{generation}_{version}_{}", print(&files));
    let target = dir.join(&name);
    fill(&target, &files, entry.access)?;
    if !is_current(entry, generation) {
        return Ok(());
    }
    let before = fs::read_link(dir.join(DATA)).ok();
    link(Path::new(&name), &dir.join(DATA))?;
    link_names(&files, dir)?;
    File::open(dir)?.sync_all()?;
    if before.as_deref() != Some(Path::new(&name)) {
        sweep(dir, &[Some(Path::new(&name)), before.as_deref()]);
    }
    Ok(())
}

/// Has a directory hold exactly these files, each of them whole. It may be half of what it should be already, and it may be read.
fn fill(target: &Path, files: &Files, access: Access) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(target)?;
    for found in fs::read_dir(target)? {
        let found = found?;
        if found.file_name().to_str().is_none_or(|name| !files.contains_key(name)) {
            fs::remove_file(found.path())?;
        }
    }
    for (name, content) in files {
        let path = target.join(name);
        if fs::read(&path).map(Zeroizing::new).is_ok_and(|found| *found == **content) {
            continue;
        }
        replace_file_as(&path, content, access).map_err(io::Error::other)?;
    }
    File::open(target)?.sync_all()
}

/// Tells files from others.
fn print(files: &Files) -> String {
    let mut print = Context::new(&SHA256);
    for (name, content) in files {
        for part in [name.as_bytes(), content.as_slice()] {
            print.update(&(part.len() as u64).to_be_bytes());
            print.update(part);
        }
    }
    print.finish().as_ref().iter().take(PRINT / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// The names that readers use lead through `..data`; those that would lead nowhere go.
fn link_names(files: &Files, dir: &Path) -> io::Result<()> {
    for name in files.keys() {
        link(&Path::new(DATA).join(name), &dir.join(name))?;
    }
    for entry in fs::read_dir(dir)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let ours = fs::read_link(&path).is_ok_and(|link| link == Path::new(DATA).join(&name));
        if ours && name.to_str().is_none_or(|name| !files.contains_key(name)) {
            fs::remove_file(&path)?;
        }
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

/// Removes every earlier directory but the last, which somebody may be reading.
fn sweep(dir: &Path, kept: &[Option<&Path>]) {
    let is_ours = |name: &str| {
        let mut parts = name.strip_prefix("..").unwrap_or_default().splitn(3, '_');
        let numbers =
            [parts.next(), parts.next()].iter().all(|part| part.is_some_and(|part| part.parse::<u64>().is_ok()));
        let is_print = |part: &str| part.len() == PRINT && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        numbers && parts.next().is_none_or(is_print)
    };
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_ours) && !kept.contains(&Some(Path::new(&name))) {
            // Best effort: what cannot be removed now is tried again at the next delivery.
            let _swept_later = fs::remove_dir_all(entry.path());
        }
    }
}

const DATA: &str = "..data";
/// Digits in hex of what tells files from others.
const PRINT: usize = 16;
