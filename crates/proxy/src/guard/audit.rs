//! The audit as lines of JSON on standard output or in a file.

mod batch;
mod failure;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use countermark_mcp::{Audit, AuditLine, Recording};

use self::batch::{Batches, Sink};
pub(crate) use self::failure::LastFailure;
use super::config::AuditSink;
use super::metrics::Metrics;

/// Writes each decision as one line, those of one moment in one write, and counts it.
#[derive(Debug)]
pub(crate) struct AuditLog {
    batches: Arc<Batches>,
    metrics: Arc<Metrics>,
}

impl AuditLog {
    pub(crate) fn open(sink: &AuditSink, metrics: Arc<Metrics>, failure: Arc<LastFailure>) -> io::Result<Self> {
        let sink = match sink {
            AuditSink::Stdout => Sink::stdout(),
            AuditSink::File(path) => Sink::file(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?),
        };
        Ok(Self { batches: Batches::new(sink, failure, Arc::clone(&metrics)), metrics })
    }
}

impl Audit for AuditLog {
    fn record(&self, line: &AuditLine<'_>) -> Recording {
        self.metrics.decided(line.outcome, line.kind);
        match self.batches.add(|text| line.write_json(text)) {
            Ok(written) => Recording::later(written),
            Err(stalled) => Err(stalled).into(),
        }
    }
}
