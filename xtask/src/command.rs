//! Running other programs, loudly: what is run is printed, what fails says so, what is missing is a [`Skip`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

/// Why something did not run although nothing is wrong with it: the program that is missing.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// One invocation of a program.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    name: OsString,
    /// Where what it says is kept.
    record: Option<PathBuf>,
}

impl Program {
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&name);
        command.stdin(Stdio::null());
        Self { command, name: name.as_ref().to_owned(), record: None }
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn arg_path(mut self, flag: &str, path: &Path) -> Self {
        self.command.arg(flag).arg(path);
        self
    }

    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Keeps what it says, beside showing it.
    pub(crate) fn recorded(mut self, file: PathBuf) -> Self {
        self.record = Some(file);
        self
    }

    /// Runs to the end with the output shown; anything but success is an error.
    pub(crate) fn run(mut self) -> Result<()> {
        self.announce();
        let status = self.command.status().map_err(|error| self.unstarted(error))?;
        self.succeed(status)
    }

    /// Runs to the end and returns what it wrote to stdout.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self.command.stderr(Stdio::inherit()).output().map_err(|error| self.unstarted(error))?;
        self.succeed(output.status)?;
        String::from_utf8(output.stdout).context("its output is not UTF-8")
    }

    /// Runs to the end, shows stdout while it comes, and returns it with whether the program succeeded. What is recorded is
    /// stderr, too; and of that which tests that passed have said, nothing is shown.
    pub(crate) fn tee(mut self) -> Result<(String, bool)> {
        self.announce();
        self.command.stdout(Stdio::piped());
        let record = self.record.as_deref().map(append).transpose()?;
        if record.is_some() {
            self.command.stderr(Stdio::piped());
        }
        let mut child = self.command.spawn().map_err(|error| self.unstarted(error))?;
        let stderr = child.stderr.take().zip(record.as_ref().map(File::try_clone).transpose()?);
        let errors = stderr.map(|(stderr, record)| {
            std::thread::spawn(move || each_line(stderr, Some(record), |line| eprintln!("{line}")))
        });
        let (mut seen, mut hidden, hides) = (String::new(), false, record.is_some());
        each_line(child.stdout.take().context("stdout is piped")?, record, |line| {
            hidden =
                hides && (line == "successes:" || hidden && !(line == "failures:" || line.starts_with("test result:")));
            if !hidden {
                println!("{line}");
            }
            seen.push_str(line);
            seen.push('\n');
        })?;
        if let Some(errors) = errors {
            errors.join().map_err(|_| anyhow!("stderr could not be read"))??;
        }
        Ok((seen, child.wait()?.success()))
    }

    fn announce(&self) {
        let arguments = self.command.get_args().map(OsStr::to_string_lossy);
        let arguments: Vec<_> = arguments.collect();
        println!("$ {} {}", self.name.display(), arguments.join(" "));
    }

    fn unstarted(&self, error: std::io::Error) -> anyhow::Error {
        if error.kind() == ErrorKind::NotFound {
            return Skip(format!("{} is not installed", self.name.display())).into();
        }
        anyhow::Error::new(error).context(format!("{} cannot be started", self.name.display()))
    }

    fn succeed(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("{} ended with {status}", self.name.display());
        }
        Ok(())
    }
}

fn append(file: &Path) -> Result<File> {
    Ok(File::options().append(true).create(true).open(file)?)
}

/// Lines as they come; the record gets the bytes themselves.
fn each_line(stream: impl Read, mut record: Option<File>, mut each: impl FnMut(&str)) -> Result<()> {
    for line in BufReader::new(stream).split(b'\n') {
        let mut line = line?;
        each(&String::from_utf8_lossy(&line));
        if let Some(record) = &mut record {
            line.push(b'\n');
            record.write_all(&line)?;
        }
    }
    Ok(())
}

/// Where `program` is on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// Does it, and if that fails does it once more: registries stumble. A missing program is not tried again.
pub(crate) fn twice<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    attempt().or_else(|error| {
        if error.is::<Skip>() {
            return Err(error);
        }
        println!("! {error:#}; once more");
        attempt()
    })
}
