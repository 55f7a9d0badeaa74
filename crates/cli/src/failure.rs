//! Exit codes, and errors that say what to do next.

use std::{fmt, io::Write, process::ExitCode};

/// What a verb returns.
pub(crate) type Outcome<T> = Result<T, anyhow::Error>;

/// The exit codes of every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or permitted.
    Done = 0,
    /// Denied: the question was answered with no.
    Denied = 1,
    /// What was typed cannot be meant.
    Usage = 2,
    /// It was attempted and did not work.
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// One failure: what happened and the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    next: String,
}

impl Failure {
    pub(crate) fn next_step(&self) -> &str {
        &self.next
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// An error of its own: `what` happened, and `next` is the way out (may be empty).
pub(crate) fn failed(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Failed, what: what.into(), next: next.into() }.into()
}

/// What was typed cannot be meant: exit code 2.
pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Usage, what: what.into(), next: next.into() }.into()
}

/// Puts a failure with its next step around a cause.
pub(crate) trait Explain<T> {
    fn or_failed(self, what: impl Into<String>, next: impl Into<String>) -> Outcome<T>;
}

impl<T, E: Into<anyhow::Error>> Explain<T> for Result<T, E> {
    fn or_failed(self, what: impl Into<String>, next: impl Into<String>) -> Outcome<T> {
        self.map_err(|error| error.into().context(Failure { exit: Exit::Failed, what: what.into(), next: next.into() }))
    }
}

/// Writes an error to stderr and says how the process exits.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if closed_pipe(error) {
        return Exit::Done;
    }
    let mut stderr = anstream::stderr();
    let red = anstyle::AnsiColor::Red.on_default().bold();
    let bold = anstyle::Style::new().bold();
    // Nothing can be done about a stderr that is gone; the exit code still tells.
    let _ = writeln!(stderr, "{red}error{red:#}: {}", sentence(error));
    let failure = error.downcast_ref::<Failure>();
    if let Some(next) = failure.map(Failure::next_step).filter(|next| !next.is_empty()) {
        let _ = writeln!(stderr, "{bold}next{bold:#}: {next}");
    }
    failure.map_or(Exit::Failed, |failure| failure.exit)
}

/// The whole chain in one line; a cause that its parent already quotes is not repeated.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !text.is_empty() && !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

/// Whoever read our output has seen enough: not an error.
fn closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_cause_is_not_repeated() {
        let inner = anyhow::anyhow!("no such file");
        let error = inner.context("cannot open x: no such file");
        assert_eq!(sentence(&error), "cannot open x: no such file");
    }

    #[test]
    fn the_chain_is_one_line() {
        let error = Err::<(), _>(anyhow::anyhow!("no such file")).or_failed("cannot open x", "make it").unwrap_err();
        assert_eq!(sentence(&error), "cannot open x: no such file");
        assert_eq!(error.downcast_ref::<Failure>().unwrap().next_step(), "make it");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(report(&error), Exit::Done);
    }
}
