//! A server under measurement: its processes' CPU time and memory, as the kernel counts them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::servers::Kind;

/// One server with whatever it has started; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Which of those that are put before an MCP server, if it is one.
    pub(crate) kind: Option<Kind>,
    pub(crate) url: String,
    child: Child,
}

impl Server {
    /// Starts a server on the first core; the load and the upstream have the others.
    pub(crate) fn start(kind: Kind, command: &mut Command, url: Option<String>) -> Result<Self> {
        let mut server = Self::named(kind.name(), command, url)?;
        server.kind = Some(kind);
        Ok(server)
    }

    /// Starts another kind of server.
    pub(crate) fn named(name: &'static str, command: &mut Command, url: Option<String>) -> Result<Self> {
        let (child, said) = start(command, url.is_none())?;
        let url = url.or(said).context("it prints no URL")?;
        let server = Self { name, kind: None, url, child };
        server.listens()?;
        Ok(server)
    }

    /// Waits, within a bound, until connections are taken.
    fn listens(&self) -> Result<()> {
        let port = self.port()?;
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} does not listen on {port}", self.name)
    }

    fn port(&self) -> Result<u16> {
        let port = self.url.trim_end_matches("/mcp").rsplit(':').next();
        Ok(port.context("a URL with a port")?.parse()?)
    }

    /// User and system time of the process and its children so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for pid in self.processes() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let after_name = stat.rsplit_once(") ").context("a stat line")?.1;
            let fields: Vec<_> = after_name.split(' ').collect();
            for at in [11, 12] {
                ticks += fields.get(at).context("a stat line")?.parse::<u64>()?;
            }
        }
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Resident memory of the process and its children, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.processes() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next());
            sum += number.context("VmRSS")?.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// The process and its children, all the way down.
    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = found.get(at).copied() {
            let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
            let children = std::fs::read_to_string(children).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            at += 1;
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that a master ends its workers.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        std::thread::sleep(Duration::from_millis(200));
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a program and, if asked to, waits for the URL that it prints on stdout or stderr.
pub(crate) fn start(command: &mut Command, wait: bool) -> Result<(Child, Option<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let (sender, lines) = std::sync::mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let echo = sender.clone();
    std::thread::spawn(move || {
        let read = stdout.into_iter().flat_map(|stream| BufReader::new(stream).lines());
        read.map_while(Result::ok).for_each(|line| drop(echo.send(line)));
    });
    std::thread::spawn(move || {
        let read = stderr.into_iter().flat_map(|stream| BufReader::new(stream).lines());
        read.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    if !wait {
        return Ok((child, None));
    }
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(30)) {
        let from = line.find("http://127").or_else(|| line.find("https://"));
        if let Some(url) = from.and_then(|from| line.get(from..)) {
            let end = url.find(|end: char| end.is_whitespace() || end == '"');
            return Ok((child, url.get(..end.unwrap_or(url.len())).map(str::to_owned)));
        }
        said.push_str(&line);
        said.push('\n');
    }
    child.kill().ok();
    child.wait().ok();
    bail!("{command:?} prints no URL:\n{said}")
}

/// What Linux counts CPU time in on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;
