//! The log goes to stderr; stdout carries what was asked for, or the audit.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    args::LogFormat,
    telemetry::{self, Traces},
};

/// Starts the log of this process, and its traces. A filter that does not parse falls back to `info`, loudly.
pub(crate) fn start(format: LogFormat, filter: &str, traces: Option<&Traces>) {
    let parsed = EnvFilter::try_new(filter);
    let wrong = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry();
    let started = match traces {
        // One filter for everything, so that what nobody wants costs one comparison.
        None => registry.with(lines(format).and_then(filter)).try_init(),
        Some(traces) => {
            let spans = tracing_opentelemetry::layer()
                .with_tracer(traces.tracer())
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false);
            let told = Targets::new().with_target(telemetry::TARGET, LevelFilter::DEBUG);
            let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
                vec![lines(format).with_filter(filter).boxed(), spans.with_filter(told).boxed()];
            registry.with(layers).try_init()
        }
    };
    if let Err(error) = started {
        eprintln!("the log could not be started: {error}");
    }
    if let Some(wrong) = wrong {
        tracing::warn!(%wrong, "the log filter does not parse; logging at info");
    }
}

/// Lines on stderr.
fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    // Internal errors would be said on stderr by a macro that panics where it is closed: whoever reads no log must not end our tasks.
    let base = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Json => base.json().flatten_event(true).boxed(),
        LogFormat::Text => base.with_target(false).with_ansi(coloured()).boxed(),
    }
}

/// As every other output: `--color`, then NO_COLOR and its kin, then whether stderr is a terminal.
fn coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
