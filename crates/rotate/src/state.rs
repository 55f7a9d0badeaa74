//! What is remembered beside a credential, so that it survives kill -9.

use std::io;
use std::path::{Path, PathBuf};

use countermark_credential::directory::{DeliveryError, replace_file};
use countermark_identity::UnixTime;
use serde::{Deserialize, Serialize};

use crate::machine::{Memory, TrustMark};
use crate::schedule::Roll;

/// The file in the identity directory.
pub const STATE_FILE: &str = "rotate-state.json";

/// The file as written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    serial: Option<String>,
    issued: Option<u64>,
    roll: Option<u32>,
    last_success: Option<u64>,
    failures: u32,
    accepted: Option<u64>,
    generation: Option<u64>,
    trust: Option<u64>,
    /// What the files of that version were.
    #[serde(default)]
    trust_files: u64,
    /// What the hooks were when this was written: other hooks are not done.
    hooks: u64,
    hooks_done: Vec<usize>,
    succeeded: bool,
}

/// Reads what was remembered; nothing if there is nothing. `hooks` tells the hooks of the configuration from others.
///
/// # Errors
/// A file that cannot be read. One that is broken holds nothing that cannot be reckoned anew.
pub fn read(dir: &Path, hooks: u64) -> Result<Memory, StateError> {
    let path = dir.join(STATE_FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
        Err(source) => return Err(StateError::Read { path, source }),
    };
    let document: Option<Document> = serde_json::from_slice(&text).ok();
    let document = document.filter(|document| document.version == VERSION).ok_or(StateError::Broken { path })?;
    let same = document.hooks == hooks;
    Ok(Memory {
        serial: document.serial.and_then(|serial| serial.parse().ok()),
        issued: document.issued.map(UnixTime::from_secs),
        roll: document.roll.map(Roll::from_bits),
        last_success: document.last_success.map(UnixTime::from_secs),
        failures: document.failures,
        accepted: document.accepted.map(UnixTime::from_secs),
        generation: document.generation,
        trust: document.trust.map(|version| TrustMark { version, files: document.trust_files }),
        hooks_done: if same { document.hooks_done } else { Vec::new() },
        succeeded: document.succeeded && same,
    })
}

/// Writes what is to be remembered, by one rename.
///
/// # Errors
/// What the file system said.
pub fn write(dir: &Path, memory: &Memory, hooks: u64) -> Result<(), StateError> {
    let document = Document {
        version: VERSION,
        serial: memory.serial.as_ref().map(ToString::to_string),
        issued: memory.issued.map(UnixTime::as_secs),
        roll: memory.roll.map(Roll::bits),
        last_success: memory.last_success.map(UnixTime::as_secs),
        failures: memory.failures,
        accepted: memory.accepted.map(UnixTime::as_secs),
        generation: memory.generation,
        trust: memory.trust.map(|trust| trust.version),
        trust_files: memory.trust.map_or(0, |trust| trust.files),
        hooks,
        hooks_done: memory.hooks_done.clone(),
        succeeded: memory.succeeded,
    };
    let text = serde_json::to_vec(&document).map_err(|_| StateError::Broken { path: dir.join(STATE_FILE) })?;
    Ok(replace_file(&dir.join(STATE_FILE), &text)?)
}

/// Why nothing is remembered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It is not what was written.
    #[error("{} is broken; it is written anew, and hooks run again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] DeliveryError),
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory {
            serial: Some("0aff".parse().unwrap()),
            issued: Some(UnixTime::from_secs(5)),
            roll: Some(Roll::from_bits(9)),
            last_success: Some(UnixTime::from_secs(7)),
            failures: 3,
            accepted: Some(UnixTime::from_secs(8)),
            generation: Some(12),
            trust: Some(TrustMark { version: 4, files: u64::MAX }),
            hooks_done: vec![0, 2],
            succeeded: true,
        }
    }

    #[test]
    fn what_is_written_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), 1).unwrap(), Memory::default());
        write(dir.path(), &memory(), 1).unwrap();
        assert_eq!(read(dir.path(), 1).unwrap(), memory());
    }

    #[test]
    fn other_hooks_are_not_done() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &memory(), 1).unwrap();
        let read = read(dir.path(), 2).unwrap();
        assert_eq!(read, Memory { hooks_done: Vec::new(), succeeded: false, ..memory() });
    }

    #[test]
    fn a_broken_file_is_said_to_be_broken() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", "[1]", "{\"version\":2}"] {
            std::fs::write(dir.path().join(STATE_FILE), text).unwrap();
            assert!(matches!(read(dir.path(), 1), Err(StateError::Broken { .. })), "{text}");
        }
    }
}
