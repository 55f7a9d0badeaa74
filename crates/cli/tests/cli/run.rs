//! Running the binary and making what it works on.

use std::{
    ffi::OsStr,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc::RecvTimeoutError,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_countermark");

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Exit code 0, or the test ends with what was said.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// This exit code, with all of these on stderr.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for words in said {
            assert!(self.err.contains(words), "`{words}` is missing: {self:?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The binary with an environment of its own and nothing on stdin.
pub(crate) fn command() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    if let Some(register) = std::env::var_os("COUNTERMARK_TOKEN_REGISTER") {
        command.env("COUNTERMARK_TOKEN_REGISTER", register);
    }
    command
}

pub(crate) fn countermark<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    bounded(command().args(args))
}

/// Runs it to its end; what serves where it should have refused is ended and told.
pub(crate) fn bounded(command: &mut Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (ended, waiting) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watchdog.join().unwrap();
    // Whoever is told to print a token does.
    if !command.get_args().any(|argument| argument == "--print") {
        countermark_testkit::said(&output.stdout);
    }
    countermark_testkit::said(&output.stderr);
    Ran::of(output)
}

/// Another program; None where it is not installed.
pub(crate) fn program<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Option<Ran> {
    match Command::new(name).args(args).stdin(Stdio::null()).output() {
        Ok(output) => Some(Ran::of(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip(&format!("{name} is not installed"));
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// A directory with a plaintext authority in `ca`.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn empty() -> Self {
        let kept = countermark_testkit::is_kept();
        Self { dir: tempfile::Builder::new().disable_cleanup(kept).tempdir().unwrap() }
    }

    pub(crate) fn with_authority() -> Self {
        let place = Self::empty();
        let ca = place.text("ca");
        countermark(["ca", "init", "--dir", &ca, "--trust-domain", "agents.internal", "--plaintext-key"]).done();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// Mints into the directory `name`.
    pub(crate) fn mint(&self, role: &str, name: &str) -> String {
        let mut args = vec!["mint".to_owned(), role.into(), name.into(), "--ca".into(), self.text("ca")];
        args.extend(["--out".into(), self.text(name)]);
        if role == "server" {
            args.extend(["--dns".into(), "localhost".into(), "--ip".into(), "127.0.0.1".into()]);
        }
        countermark(args).done();
        self.text(name)
    }

    /// A policy that grants billing-bot everything that reads on ledger.
    pub(crate) fn policy(&self) -> String {
        self.write("policy.toml", POLICY)
    }

    /// How many certificates the inventory knows.
    pub(crate) fn minted(&self) -> usize {
        let list = countermark(["ca", "list", "--ca", &self.text("ca"), "--all", "--json"]).done().json();
        list.as_array().unwrap().len()
    }

    /// Lets every user of the machine in.
    pub(crate) fn open_to_all(&self) {
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

pub(crate) const POLICY: &str = "version = 1\ntrust_domain = \"agents.internal\"\n\n[[grant]]\nwho = [\"billing-bot\"]\nservers = [\"ledger\"]\ntools = [\"read_*\"]\n";

/// Runs a copy of the binary as a user whom file modes stop: root passes them all.
pub(crate) fn unprivileged(place: &Place, args: &[&str]) -> Ran {
    place.open_to_all();
    let copy = place.path("countermark");
    if !copy.exists() {
        std::fs::copy(BINARY, &copy).unwrap();
    }
    let mut command = Command::new(&copy);
    command.env_clear().args(args).stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    bounded(&mut command)
}

/// Every file below a directory, with its content.
pub(crate) fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.symlink_metadata().unwrap() {
            meta if meta.is_dir() => found.extend(snapshot(&path)),
            meta if meta.is_symlink() => {
                let target = std::fs::read_link(&path).unwrap();
                found.push((path, target.into_os_string().into_encoded_bytes()));
            }
            _ => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Says that this test is left out, past the capture of output, in the words that `cargo xtask test` counts.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let _ = writeln!(std::io::stdout(), "\nSKIP {}: {why}", thread.name().unwrap_or("a test"));
}
