//! What ran, how long it took, how it ended; and the one closing line.

use std::process::ExitCode;
use std::time::Duration;

use crate::command::Skip;

/// How many checks ended which way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn passed(name: impl Into<String>, note: impl Into<String>) -> Self {
        let tally = Tally { passed: 1, ..Tally::default() };
        Self::new(name, tally, note)
    }

    pub(crate) fn failed(name: impl Into<String>, note: impl Into<String>) -> Self {
        let tally = Tally { failed: 1, ..Tally::default() };
        Self::new(name, tally, note)
    }

    pub(crate) fn skipped(name: impl Into<String>, note: impl Into<String>) -> Self {
        let tally = Tally { skipped: 1, ..Tally::default() };
        Self::new(name, tally, note)
    }

    /// The row of something that could not be carried through.
    pub(crate) fn ended(name: impl Into<String>, error: &anyhow::Error) -> Self {
        if error.is::<Skip>() {
            Self::skipped(name, format!("{error:#}"))
        } else {
            Self::failed(name, format!("{error:#}"))
        }
    }

    pub(crate) fn new(name: impl Into<String>, tally: Tally, note: impl Into<String>) -> Self {
        Self { name: name.into(), tally, took: Duration::ZERO, note: note.into() }
    }

    fn verdict(&self) -> &'static str {
        match self.tally {
            Tally { failed: 1.., .. } => "FAILED",
            Tally { skipped: 1.., .. } => "skipped",
            _ => "passed",
        }
    }
}

/// Everything that ran.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Takes over what a step reports; its first row shows how long the step took.
    pub(crate) fn extend(&mut self, mut rows: Vec<Row>, took: Duration) {
        if let Some(first) = rows.first_mut() {
            first.took = took;
        }
        self.rows.extend(rows);
    }

    pub(crate) fn print(&self) {
        let width = self.rows.iter().map(|row| row.name.len()).max();
        let width = width.unwrap_or_default();
        println!();
        for row in &self.rows {
            let took = match row.took {
                Duration::ZERO => String::new(),
                took => format!("{:.1} s", took.as_secs_f64()),
            };
            let (name, verdict) = (&row.name, row.verdict());
            let line = format!("{name:<width$}  {took:>9}  {verdict:<7}  {}", row.note);
            println!("{}", line.trim_end());
        }
        let Tally { passed, failed, skipped } = self.total();
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }

    pub(crate) fn exit_code(&self, require_all: bool) -> ExitCode {
        let total = self.total();
        if total.failed > 0 || (require_all && total.skipped > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn total(&self) -> Tally {
        self.rows.iter().fold(Tally::default(), |sum, row| Tally {
            passed: sum.passed + row.tally.passed,
            failed: sum.failed + row.tally.failed,
            skipped: sum.skipped + row.tally.skipped,
        })
    }
}
