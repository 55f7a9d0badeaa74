//! Files appear whole or not at all: written beside, synced, renamed, and the directory synced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::error::AuthorityError;

/// Mode of files that hold keys or the inventory.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of files that everyone may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Replaces a file in one rename.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let beside = beside(path);
    write_new(&beside, contents, mode)
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| {
            let _nothing_more_to_do = fs::remove_file(&beside);
        })
        .map_err(|error| AuthorityError::io("write", path, error))?;
    sync_dir(parent(path))
}

/// Replaces a symbolic link in one rename.
pub(crate) fn replace_link(link: &Path, target: &Path) -> Result<(), AuthorityError> {
    let beside = beside(link);
    let _left_by_a_dead_process = fs::remove_file(&beside);
    symlink(target, &beside)
        .and_then(|()| fs::rename(&beside, link))
        .inspect_err(|_| {
            let _nothing_more_to_do = fs::remove_file(&beside);
        })
        .map_err(|error| AuthorityError::io("write", link, error))?;
    sync_dir(parent(link))
}

/// Makes a directory.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<(), AuthorityError> {
    DirBuilder::new().mode(mode).create(path).map_err(|error| AuthorityError::io("create", path, error))
}

/// Makes renames in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), AuthorityError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| AuthorityError::io("sync", path, error))
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // What stands there was left by a dead process.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(contents)?;
    // Whatever the umask says: readers of public files are other users.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// A name in the same directory, always the same: the lock lets nobody else write, and what a dead process left there is
/// written over.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
