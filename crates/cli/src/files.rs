//! Writing a file whole or not at all.

use std::{io::Write, os::unix::fs::PermissionsExt, path::Path};

use tempfile::NamedTempFile;

use crate::failure::{Explain, Outcome};

/// Replaces a public file in one rename: 0644, flushed to the disk before it counts.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Outcome<()> {
    replace_as(path, content, 0o644)
}

/// Replaces a file that nobody else may read: 0600, flushed to the disk before it counts.
pub(crate) fn replace_private(path: &Path, content: &[u8]) -> Outcome<()> {
    replace_as(path, content, 0o600)
}

fn replace_as(path: &Path, content: &[u8], mode: u32) -> Outcome<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    write(folder, path, content, mode).or_failed(
        format!("cannot write {}", path.display()),
        "check that its directory exists, can be written, and is not full",
    )
}

fn write(folder: &Path, path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    // Before the content: a temporary file is its owner's alone, and stays so if it holds a secret.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("x"), "").unwrap();
        assert!(replace(&target, b"text").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
