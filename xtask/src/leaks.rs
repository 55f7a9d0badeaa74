//! No token stands in anything that the run has said or written.
//!
//! Whoever issues tokens in a test (testkit's authorization server, and those of the peers) appends them to a register, which
//! nobody else reads. What the steps say, and every file of a test that has tokens, is kept in one directory and looked through
//! at the end.

mod needles;

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use self::needles::Needles;
use crate::command::Program;
use crate::context::Context;
use crate::report::Row;

/// The register of a run and what is looked through for what it lists; removed at its end.
#[derive(Debug)]
pub(crate) struct Watch {
    home: PathBuf,
}

impl Watch {
    /// In a place with a short name, since sockets are bound below it.
    pub(crate) fn start() -> Result<Self> {
        let place = std::env::temp_dir();
        sweep(&place);
        let watch = Self { home: place.join(format!("cm-{}", std::process::id())) };
        // Servers that tests run as other users find their files.
        for (folder, mode) in [(watch.home.clone(), 0o711), (watch.files(), 0o711)] {
            std::fs::DirBuilder::new().mode(mode).create(&folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(watch.register())?;
        // What is not found in the file where it certainly stands is found nowhere.
        std::fs::write(watch.register(), format!("{CANARY}\n"))?;
        std::fs::write(watch.files().join(CAGE), CANARY)?;
        Ok(watch)
    }

    /// The directory of temporary files, and of what the steps have said.
    pub(crate) fn files(&self) -> PathBuf {
        self.home.join("files")
    }

    fn register(&self) -> PathBuf {
        self.home.join("tokens")
    }

    /// Has this program keep what it says and writes.
    pub(crate) fn over(&self, program: Program) -> Program {
        let record = self.files().join("steps.log");
        program.env("TMPDIR", self.files()).env("COUNTERMARK_TOKEN_REGISTER", self.register()).recorded(record)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.home).ok();
    }
}

pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    let watch = context.watch.as_ref().context("nothing of this run was kept")?;
    let needles = Needles::of(&std::fs::read_to_string(watch.register())?)?;
    let mut looked = search(&watch.files(), &needles)?;
    let all = looked.found.len();
    looked.found.retain(|found| !found.starts_with(CAGE));
    ensure!(looked.found.len() + 1 == all, "what was put there to be found was not found");
    ensure!(needles.tokens() > 1, "no token was registered, so that none could be found");
    for found in &looked.found {
        println!("{found}");
    }
    if !looked.found.is_empty() {
        bail!("a token stands in {} places", looked.found.len());
    }
    let (tokens, megabytes) = (needles.tokens() - 1, looked.bytes / 1_000_000);
    let note = format!("{tokens} tokens, in none of {} files ({megabytes} MB)", looked.files);
    Ok(vec![Row::passed("leaks", note)])
}

/// Removes what runs that were killed have left.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("cm-")?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Stands in the register and in one file of the run.
const CANARY: &str = "a-canary-that-is-put-into-one-file-to-be-found";
const CAGE: &str = "canary.txt";

/// What was looked through.
#[derive(Debug, Default)]
struct Looked {
    files: usize,
    bytes: usize,
    /// Where a token stands, and in which form; never the token.
    found: Vec<String>,
}

fn search(folder: &Path, needles: &Needles) -> Result<Looked> {
    let (mut looked, mut folders) = (Looked::default(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in opened(&next, |path| std::fs::read_dir(path))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let content = opened(&path, |path| std::fs::read(path))?;
                looked.files += 1;
                looked.bytes += content.len();
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                let found = needles.find(&content).into_iter();
                looked.found.extend(found.map(|(at, form)| format!("{name}: a token in {form} at byte {at}")));
            }
        }
    }
    Ok(looked)
}

/// What tests have closed to everybody is looked through, too.
fn opened<T>(path: &Path, open: impl Fn(&Path) -> std::io::Result<T>) -> Result<T> {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let opened = match open(path) {
        Err(error) if closed(&error) => {
            std::fs::set_permissions(path, Permissions::from_mode(0o700)).and_then(|()| open(path))
        }
        opened => opened,
    };
    opened.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_whatever_file_it_stands_and_is_not_shown() {
        let (home, token) = (tempfile::tempdir().unwrap(), "e1.e2.0123456789abcdefghijklmnopqrstuv");
        let needles = Needles::of(&format!("{token}\n")).unwrap();
        assert_eq!(search(home.path(), &needles).unwrap().files, 0);
        std::fs::create_dir(home.path().join("deep")).unwrap();
        std::fs::write(home.path().join("clean.log"), "nothing").unwrap();
        assert!(search(home.path(), &needles).unwrap().found.is_empty());
        let audit = home.path().join("deep/audit.jsonl");
        std::fs::write(&audit, format!("{{\"x\":\"{token}\"}}")).unwrap();
        std::fs::set_permissions(&audit, Permissions::from_mode(0o000)).unwrap();
        let looked = search(home.path(), &needles).unwrap();
        assert_eq!((looked.files, looked.found), (2, vec!["deep/audit.jsonl: a token in clear at byte 12".to_owned()]));
    }
}
