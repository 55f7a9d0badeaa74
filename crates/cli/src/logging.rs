//! The log goes to stderr; stdout carries what was asked for, or the audit.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts the log of this process. A filter that does not parse falls back to `info`, loudly.
pub(crate) fn start(format: LogFormat, filter: &str) {
    let parsed = EnvFilter::try_new(filter);
    let wrong = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Said on stderr by a macro that panics where stderr is closed: whoever reads no log must not end our tasks.
    let base = base.log_internal_errors(false);
    let started = match format {
        LogFormat::Json => base.json().flatten_event(true).try_init(),
        LogFormat::Text => base.with_target(false).with_ansi(coloured()).try_init(),
    };
    if let Err(error) = started {
        eprintln!("the log could not be started: {error}");
    }
    if let Some(wrong) = wrong {
        tracing::warn!(%wrong, "the log filter does not parse; logging at info");
    }
}

/// As every other output: `--color`, then NO_COLOR and its kin, then whether stderr is a terminal.
fn coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
