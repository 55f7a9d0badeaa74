//! What is counted, and shown to Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use countermark_mcp::Outcome;
use countermark_mtls::{HandshakeError, Observe};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Everything that guard counts.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    decisions: Decisions,
    audit_failures: Counter,
    upstream_errors: Family<Reason, Counter>,
    handshakes: Family<Reason, Counter>,
    requests: Histogram,
    policy_loads: Family<Reason, Counter>,
    /// Set when they are asked for.
    pub(crate) gauges: Gauges,
}

/// Values that are read, not counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Gauges {
    pub(crate) connections: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) processes: Gauge,
    pub(crate) credential_not_after: Gauge<f64, AtomicU64>,
    pub(crate) crl_next_update: Family<Domain, Gauge<f64, AtomicU64>>,
    pub(crate) policy_generation: Gauge,
    pub(crate) trust_generation: Gauge,
    pub(crate) observing: Gauge,
    pub(crate) ready: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    outcome: &'static str,
    kind: &'static str,
}

/// The decisions, each counter looked up once: every call counts one.
#[derive(Debug, Default)]
struct Decisions {
    family: Family<Decision, Counter>,
    known: [[OnceLock<Counter>; KINDS.len()]; OUTCOMES.len()],
}

const OUTCOMES: [Outcome; 5] = [Outcome::Permit, Outcome::Denied, Outcome::WouldDeny, Outcome::Refused, Outcome::Ended];
const KINDS: [&str; 7] = ["tool", "protocol", "prompt", "resource", "method", "task", "none"];

impl Decisions {
    fn count(&self, outcome: Outcome, kind: &'static str) {
        let look_up = || self.family.get_or_create_owned(&Decision { outcome: outcome.as_str(), kind });
        let row = OUTCOMES.iter().position(|known| *known == outcome).and_then(|row| self.known.get(row));
        let place = KINDS.iter().position(|known| *known == kind);
        match row.zip(place).and_then(|(row, place)| row.get(place)) {
            Some(counter) => counter.get_or_init(look_up).inc(),
            None => look_up().inc(),
        };
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// A trust domain as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Domain {
    pub(crate) trust_domain: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let buckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("countermark_guard")),
            decisions: Decisions::default(),
            audit_failures: Counter::default(),
            upstream_errors: Family::default(),
            handshakes: Family::default(),
            requests: Histogram::new(buckets),
            policy_loads: Family::default(),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let gauges = &self.gauges;
        registry.register(
            "decisions",
            "Decisions by outcome and kind, whether or not their line could be written",
            self.decisions.family.clone(),
        );
        registry.register("audit_failures", "Audit lines that could not be written", self.audit_failures.clone());
        registry.register("upstream_errors", "Requests that the upstream failed", self.upstream_errors.clone());
        registry.register("handshakes", "TLS handshakes: ok, resumed, or why there was none", self.handshakes.clone());
        registry.register("request_seconds", "Time to the response's headers", self.requests.clone());
        registry.register(
            "policy_loads",
            "Policy files read; `ok` or why the last good one was kept",
            self.policy_loads.clone(),
        );
        registry.register("connections", "Connections that are open", gauges.connections.clone());
        registry.register("requests_in_flight", "Requests without response headers yet", gauges.in_flight.clone());
        registry.register("processes", "Processes of the stdio server", gauges.processes.clone());
        registry.register(
            "credential_not_after_seconds",
            "When guard's certificate expires",
            gauges.credential_not_after.clone(),
        );
        registry.register("crl_next_update_seconds", "When a revocation list expires", gauges.crl_next_update.clone());
        registry.register("policy_generation", "How often the policy changed", gauges.policy_generation.clone());
        registry.register(
            "trust_generation",
            "The trust generation that handshakes are judged by",
            gauges.trust_generation.clone(),
        );
        registry.register("danger_observe", "1 while calls without a grant pass", gauges.observing.clone());
        registry.register("ready", "1 while guard is ready", gauges.ready.clone());
    }

    pub(crate) fn decided(&self, outcome: Outcome, kind: Option<&'static str>) {
        self.decisions.count(outcome, kind.unwrap_or("none"));
    }

    pub(crate) fn audit_failed(&self, lines: usize) {
        self.audit_failures.inc_by(lines as u64);
    }

    pub(crate) fn upstream_failed(&self, reason: &'static str) {
        self.upstream_errors.get_or_create(&Reason { reason }).inc();
    }

    fn handshake(&self, reason: &'static str) {
        self.handshakes.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn policy_loaded(&self, reason: &'static str) {
        self.policy_loads.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.requests.observe(after.as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        Ok(text)
    }
}

impl Observe for Metrics {
    fn accepted(&self, resumed: bool) {
        self.handshake(if resumed { "resumed" } else { "ok" });
    }

    fn refused(&self, error: &HandshakeError) {
        self.handshake(error.kind());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}
