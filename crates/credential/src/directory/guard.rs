//! Whether nobody else can lead a delivery astray.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use super::error::DeliveryError;
use super::names::{GENERATIONS, TRUST, VERSIONS};

/// Refuses a directory in which somebody else could put links in the way of what we write: a root that delivers into a
/// service's own directory would follow them anywhere.
///
/// An unprivileged process can reach nothing that whoever owns the directory could not, and is held to the links alone.
pub(super) fn require_own(dir: &Path) -> Result<(), DeliveryError> {
    let unsafe_here = |path: &Path, why: &'static str| DeliveryError::Unsafe { path: path.to_owned(), why };
    for inner in [dir.join(GENERATIONS), dir.join(TRUST), dir.join(TRUST).join(VERSIONS)] {
        if fs::symlink_metadata(&inner).is_ok_and(|found| found.is_symlink()) {
            return Err(unsafe_here(&inner, "it is a link; remove it"));
        }
    }
    let Ok(found) = fs::metadata(dir) else { return Ok(()) };
    if !geteuid().is_root() {
        return Ok(());
    }
    if found.uid() != 0 {
        let why = "it is not root's, so that its owner could lead root astray; `chown root` it, and give the files their owner \
                   with `owner`, or run as that owner";
        return Err(unsafe_here(dir, why));
    }
    if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
        return Err(unsafe_here(dir, "others may write in it; `chmod go-w` it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    #[test]
    fn links_in_the_place_of_our_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        require_own(dir.path()).unwrap();
        for name in [GENERATIONS, TRUST] {
            symlink("/", dir.path().join(name)).unwrap();
            assert!(matches!(require_own(dir.path()), Err(DeliveryError::Unsafe { .. })), "{name}");
            fs::remove_file(dir.path().join(name)).unwrap();
        }
    }

    #[test]
    fn root_delivers_only_where_nobody_else_writes() {
        if !geteuid().is_root() {
            println!("SKIP root_delivers_only_where_nobody_else_writes: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(require_own(dir.path()), Err(DeliveryError::Unsafe { .. })));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        require_own(dir.path()).unwrap();
        chown(dir.path(), Some(65_534), None).unwrap();
        let error = require_own(dir.path()).unwrap_err();
        assert!(error.to_string().contains("chown root"), "{error}");
    }
}
