//! The few operations on files that a delivery is made of, each of which a test can make fail.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use super::access::Access;
use super::error::DeliveryError;

/// Creates a directory that only its owner can enter, and those whom `access` lets through; one that exists is left as it is otherwise.
pub(super) fn create_dir(path: &Path, access: Access) -> Result<(), DeliveryError> {
    step()
        .and_then(|()| DirBuilder::new().mode(0o700).create(path))
        .or_else(
            |error| if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() { Ok(()) } else { Err(error) },
        )
        .and_then(|()| open_up(path, access))
        .map_err(DeliveryError::io("create the directory", path))
}

/// Creates a directory and its parents.
pub(super) fn create_dir_all(path: &Path, access: Access) -> Result<(), DeliveryError> {
    step()
        .and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(path))
        .and_then(|()| open_up(path, access))
        .map_err(DeliveryError::io("create the directory", path))
}

/// Lets those through who may read the files in it. It stays ours.
fn open_up(path: &Path, access: Access) -> io::Result<()> {
    if access.is_plain() {
        return Ok(());
    }
    if access.group().is_some() {
        lchown(path, None, access.group())?;
    }
    let found = fs::metadata(path)?.permissions().mode() & 0o7777;
    let wanted = found | access.directory_mode();
    if wanted == found { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) }
}

/// Writes a new file. Its owner and mode are right before its first byte is in it; it is not durable before [`sync`].
pub(super) fn write(path: &Path, content: &[u8], access: Access) -> Result<File, DeliveryError> {
    step()
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
        .and_then(|mut file| {
            if !access.is_plain() {
                fchown(&file, access.owner(), access.group())?;
                file.set_permissions(fs::Permissions::from_mode(access.mode()))?;
            }
            step()?;
            file.write_all(content)?;
            Ok(file)
        })
        .map_err(DeliveryError::io("write", path))
}

/// Makes a written file durable.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), DeliveryError> {
    step().and_then(|()| file.sync_all()).map_err(DeliveryError::io("write", path))
}

/// Makes written files and the entries of their directory durable, all at once: a disk that is asked for several things
/// together has them done in little more time than one.
pub(super) fn sync_together(files: &[(File, PathBuf)], dir: &Path) -> Result<(), DeliveryError> {
    for (_, path) in files {
        step().map_err(DeliveryError::io("write", path))?;
    }
    thread::scope(|scope| {
        let begun: Vec<_> = files
            .iter()
            .map(|(file, path)| (thread::Builder::new().spawn_scoped(scope, || file.sync_all()), file, path))
            .collect();
        let entries = sync_dir(dir);
        for (begun, file, path) in begun {
            let synced = match begun {
                Ok(syncing) => syncing.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
                // No thread to be had: here, then.
                Err(_) => file.sync_all(),
            };
            synced.map_err(DeliveryError::io("write", path))?;
        }
        entries
    })
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), DeliveryError> {
    step().and_then(|()| File::open(path)?.sync_all()).map_err(DeliveryError::io("make durable", path))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DeliveryError> {
    step().and_then(|()| fs::rename(from, to)).map_err(DeliveryError::io("rename into place", to))
}

/// Makes `link` lead to `target` by one rename, whatever it was before. Says whether it led elsewhere.
pub(super) fn relink(link: &Path, target: &Path) -> Result<bool, DeliveryError> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(false);
    }
    let fresh = link.with_file_name(aside(link.file_name().unwrap_or_default()));
    remove_file(&fresh)?;
    step().and_then(|()| symlink(target, &fresh)).map_err(DeliveryError::io("link", &fresh))?;
    rename(&fresh, link)?;
    Ok(true)
}

/// The name under which a link is made before it takes its place.
pub(super) fn aside(name: impl AsRef<OsStr>) -> OsString {
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(".new");
    aside
}

/// Replaces a file by one rename: durable, mode 0600, never half of it.
///
/// # Errors
/// What the file system said; the file is then as it was.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), DeliveryError> {
    replace_file_as(path, content, Access::default())
}

/// As [`replace_file`], for those whom `access` names.
///
/// # Errors
/// As [`replace_file`].
pub fn replace_file_as(path: &Path, content: &[u8], access: Access) -> Result<(), DeliveryError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove_file(&fresh)?;
    sync(&write(&fresh, content, access)?, &fresh)?;
    rename(&fresh, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    sync_dir(parent)
}

/// Removes a file that may be there.
pub(super) fn remove_file(path: &Path) -> Result<(), DeliveryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DeliveryError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(not(test))]
const fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use self::fault::{fail_at, step};

#[cfg(test)]
mod fault {
    use std::cell::Cell;
    use std::io;

    thread_local!(static REMAINING: Cell<Option<u32>> = const { Cell::new(None) });

    /// Makes the step after the next `steps` ones of this thread fail as a full disk does.
    pub(in super::super) fn fail_at(steps: Option<u32>) {
        REMAINING.set(steps);
    }

    pub(in super::super) fn step() -> io::Result<()> {
        match REMAINING.get() {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            remaining => {
                REMAINING.set(remaining.map(|steps| steps - 1));
                Ok(())
            }
        }
    }
}
