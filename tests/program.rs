//! Programs that run beside a test: awaited by what they say, ended with it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A program that serves; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let (sender, lines) = channel();
        forward(child.stdout.take().context("stdout")?, sender.clone());
        forward(child.stderr.take().context("stderr")?, sender);
        Ok(Self { child, lines, said: String::new() })
    }

    /// The URL that it prints when it is ready.
    pub(crate) fn url(&mut self) -> Result<String> {
        self.wait_for(|line| {
            let from = line.find("http://").or_else(|| line.find("https://"))?;
            let url = line.get(from..)?;
            let end = url.find(|end: char| end.is_whitespace() || end == '"');
            let url = url.get(..end.unwrap_or(url.len()))?;
            url.ends_with("/mcp").then(|| url.to_owned())
        })
    }

    /// What `wanted` finds in the first line that has it.
    pub(crate) fn wait_for<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it is not ready after {PATIENCE:?}:\n{}", self.said)
                }
                Err(RecvTimeoutError::Disconnected) => bail!("it ended:\n{}", self.said),
            }
        }
    }

    /// Everything that it has said so far.
    pub(crate) fn said(&mut self) -> &str {
        for line in self.lines.try_iter() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        &self.said
    }
}

impl Drop for Running {
    /// Asks it to end, so that guard ends its own children, and kills it only if it does not.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let until = Instant::now() + GRACE;
        while asked && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK);
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How a program that ran to its end ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, which must come within a minute.
pub(crate) fn run(command: &mut Command) -> Result<Ended> {
    run_within(command, PATIENCE)
}

/// Runs a program to its end, which must come within a bound.
pub(crate) fn run_within(command: &mut Command, patience: Duration) -> Result<Ended> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let stdout = collect(child.stdout.take().context("stdout")?);
    let stderr = collect(child.stderr.take().context("stderr")?);
    let until = Instant::now() + patience;
    let (Ok(stdout), Ok(stderr)) = (await_end(&stdout, until), await_end(&stderr, until)) else {
        child.kill().ok();
        child.wait().ok();
        bail!("{command:?} has not ended after {patience:?}");
    };
    // Whoever is told to print a token does.
    if !command.get_args().any(|argument| argument == "--print") {
        countermark_testkit::said(stdout.as_bytes());
    }
    countermark_testkit::said(stderr.as_bytes());
    Ok(Ended { succeeded: child.wait()?.success(), stdout, stderr })
}

/// Runs a program that must succeed, and returns its stdout.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let ended = run(command)?;
    if !ended.succeeded {
        bail!("{command:?} failed:\n{}{}", ended.stdout, ended.stderr);
    }
    Ok(ended.stdout)
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            countermark_testkit::said(format!("{line}\n").as_bytes());
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok();
        sender.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    receiver
}

fn await_end(receiver: &Receiver<String>, until: Instant) -> Result<String> {
    let left = until.saturating_duration_since(Instant::now());
    Ok(receiver.recv_timeout(left)?)
}

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
