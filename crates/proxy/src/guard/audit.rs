//! The audit as lines of JSON on standard output or in a file.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};

use countermark_mcp::{Audit, AuditLine};

use super::config::AuditSink;
use super::metrics::Metrics;

/// A line is seldom longer.
const USUAL: usize = 512;

/// Writes each decision as one line, in one write, and counts it.
#[derive(Debug)]
pub(crate) struct AuditLog {
    sink: Mutex<Sink>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Sink {
    to: To,
    /// The last write stopped somewhere in its line.
    torn: bool,
}

#[derive(Debug)]
enum To {
    Stdout,
    File(File),
}

impl AuditLog {
    pub(crate) fn open(sink: &AuditSink, metrics: Arc<Metrics>) -> io::Result<Self> {
        let to = match sink {
            AuditSink::Stdout => To::Stdout,
            AuditSink::File(path) => To::File(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?),
        };
        Ok(Self { sink: Mutex::new(Sink { to, torn: false }), metrics })
    }
}

impl Audit for AuditLog {
    fn record(&self, line: &AuditLine<'_>) -> io::Result<()> {
        let mut text = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut text, line).map_err(io::Error::other)?;
        text.push(b'\n');
        let written = self.sink.lock().unwrap_or_else(PoisonError::into_inner).write(&text);
        match &written {
            Ok(()) => self.metrics.decided(line),
            Err(error) => {
                self.metrics.audit_failed();
                tracing::error!(%error, "the audit cannot be written: calls are refused until it can");
            }
        }
        written
    }
}

impl Sink {
    /// A line that follows a torn one starts on a line of its own.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let whole = if self.torn { Cow::Owned([b"\n", line].concat()) } else { Cow::Borrowed(line) };
        let written = match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&whole).and_then(|()| stdout.flush())
            }
            To::File(file) => file.write_all(&whole),
        };
        self.torn = written.is_err();
        written
    }
}
