//! What is counted, and shown to Prometheus. Times are absolute, so that alerts need no arithmetic on the daemon's side.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::event::{Event, Told};
use crate::run::Observe;
use crate::status::Status;

type Seconds = Family<Name, Gauge<f64, AtomicU64>>;
type Number = Family<Name, Gauge>;

/// Everything that a rotation counts.
pub struct Metrics {
    registry: Mutex<Registry>,
    events: Family<Kind, Counter>,
    results: Family<Outcome, Counter>,
    gauges: Gauges,
}

/// What is read from the status when it is asked for.
#[derive(Clone, Default)]
struct Gauges {
    not_after: Seconds,
    last_success: Seconds,
    renewal: Seconds,
    failures: Number,
    generation: Number,
    usable: Number,
    undone: Number,
    mismatch: Number,
    awaiting: Number,
    ready: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    credential: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    what: &'static str,
    result: &'static str,
}

impl Metrics {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("countermark_rotate")),
            events: Family::default(),
            results: Family::default(),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = &self.gauges;
        registry.register("events", "What happened", self.events.clone());
        registry.register("results", "Renewals, hooks and probes by result", self.results.clone());
        registry.register("not_after_seconds", "When the delivered certificate expires", gauges.not_after.clone());
        registry.register("last_success_seconds", "When a rotation last succeeded", gauges.last_success.clone());
        registry.register("renewal_seconds", "When the credential is renewed", gauges.renewal.clone());
        registry.register("consecutive_failures", "Renewals that failed in a row", gauges.failures.clone());
        registry.register("generation", "The generation in the directory", gauges.generation.clone());
        registry.register("usable", "1 while the credential can be used", gauges.usable.clone());
        registry.register("undone", "Hooks and probes that are not done for this generation", gauges.undone.clone());
        registry.register(
            "served_serial_mismatch",
            "1 while the consumer serves another certificate than the delivered one",
            gauges.mismatch.clone(),
        );
        registry.register(
            "awaiting_approval",
            "1 while the issuer has taken the request and will answer later",
            gauges.awaiting.clone(),
        );
        registry.register("ready", "1 while every credential can be used", gauges.ready.clone());
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn text(&self, status: &Status) -> Result<String, fmt::Error> {
        // One scrape at a time: what is read from the status is cleared and set anew.
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauges.set(status);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn count(&self, what: &'static str, result: &'static str) {
        self.results.get_or_create(&Outcome { what, result }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Observe for Metrics {
    fn told(&self, told: &Told) {
        self.events.get_or_create(&Kind { event: told.event.name() }).inc();
        match &told.event {
            Event::Renewed { .. } => self.count("renewal", "ok"),
            Event::RenewalFailed { step, .. } => self.count("renewal", step.as_str()),
            Event::HookDone { .. } => self.count("hook", "ok"),
            Event::HookFailed { .. } => self.count("hook", "failed"),
            Event::Succeeded { proven: true, .. } => self.count("probe", "ok"),
            Event::ProbeFailed { .. } => self.count("probe", "failed"),
            Event::ServedSerialMismatch { .. } => self.count("probe", "mismatch"),
            _ => {}
        }
    }
}

impl Gauges {
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age fit")]
    fn set(&self, status: &Status) {
        // What is gone from the configuration is gone from the metrics.
        for seconds in [&self.not_after, &self.last_success, &self.renewal] {
            seconds.clear();
        }
        let numbers = [&self.failures, &self.generation, &self.usable, &self.undone, &self.mismatch, &self.awaiting];
        for number in numbers {
            number.clear();
        }
        self.ready.set(i64::from(status.ready));
        for credential in &status.credentials {
            let name = Name { credential: credential.name.clone() };
            let seconds = |family: &Seconds, value: Option<u64>| {
                if let Some(value) = value {
                    family.get_or_create(&name).set(value as f64);
                }
            };
            let number = |family: &Number, value: usize| {
                family.get_or_create(&name).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            seconds(&self.not_after, credential.not_after);
            seconds(&self.last_success, credential.last_success);
            seconds(&self.renewal, credential.renewal);
            number(&self.failures, credential.failures as usize);
            number(&self.usable, usize::from(credential.usable));
            number(&self.generation, usize::try_from(credential.generation.unwrap_or_default()).unwrap_or_default());
            number(&self.undone, credential.duties.iter().filter(|duty| !duty.done).count());
            number(&self.awaiting, usize::from(credential.awaiting_approval));
            number(&self.mismatch, usize::from(credential.duties.iter().any(|duty| duty.served.is_some())));
        }
    }
}
