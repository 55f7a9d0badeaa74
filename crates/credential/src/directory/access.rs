//! Who may read what is delivered.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Owner, group and mode of delivered files; the process's own user and 0600 unless said otherwise.
///
/// The directories stay the process's own, whoever owns the files: who may read a key may not put another in its place. They can be
/// passed through by a group that may read; where the files have an owner of their own, anybody may list the names, and nobody else read a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    owner: Option<u32>,
    group: Option<u32>,
    mode: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self { owner: None, group: None, mode: 0o600 }
    }
}

impl Access {
    /// Files of this mode, given to this owner and group.
    ///
    /// # Errors
    /// A mode that lets everybody in, lets anybody execute, or keeps its owner out.
    pub const fn new(owner: Option<u32>, group: Option<u32>, mode: u32) -> Result<Self, AccessError> {
        if mode & !0o660 != 0 || mode & 0o400 == 0 {
            return Err(AccessError { mode });
        }
        Ok(Self { owner, group, mode })
    }

    pub(super) const fn owner(self) -> Option<u32> {
        self.owner
    }

    pub(super) const fn group(self) -> Option<u32> {
        self.group
    }

    pub(super) const fn mode(self) -> u32 {
        self.mode
    }

    /// Whether it asks for more than the process's own user with 0600.
    pub(super) const fn is_plain(self) -> bool {
        self.owner.is_none() && self.group.is_none() && self.mode == 0o600
    }

    /// The mode of a directory through which these files are reached.
    pub(super) const fn directory_mode(self) -> u32 {
        let group = if self.mode & 0o040 == 0 { 0 } else { 0o050 };
        // Names are no secret, and whoever reads trust lists them.
        let others = if self.owner.is_none() { 0 } else { 0o055 };
        0o700 | group | others
    }

    /// Whether a file is already as it should be.
    pub(super) fn holds(self, file: &Metadata) -> bool {
        file.mode() & 0o7777 == self.mode
            && self.owner.is_none_or(|owner| owner == file.uid())
            && self.group.is_none_or(|group| group == file.gid())
    }
}

/// A mode that no key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode {mode:04o} is not one for a private key: 0600, 0640, 0440 and their like are")]
pub struct AccessError {
    mode: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_never_reads_a_key() {
        for mode in [0o644, 0o604, 0o666, 0o700, 0o4600, 0o000, 0o040, 0o200] {
            assert!(Access::new(None, None, mode).is_err(), "{mode:o}");
        }
        for mode in [0o400, 0o440, 0o600, 0o640, 0o660] {
            assert!(Access::new(None, None, mode).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn directories_open_as_far_as_the_readers_of_the_files_need() {
        let mode = |owner, mode| Access::new(owner, None, mode).unwrap().directory_mode();
        assert_eq!(mode(None, 0o600), 0o700);
        assert_eq!(mode(None, 0o640), 0o750);
        assert_eq!(mode(Some(1), 0o600), 0o755);
        assert_eq!(mode(Some(1), 0o640), 0o755);
    }
}
