//! What is counted, and shown to Prometheus.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use countermark_mtls::{HandshakeError, Observe};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Everything that the service counts.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answer, Counter>,
    issued: Family<Way, Counter>,
    refused: Family<Refused, Counter>,
    handshakes: Family<Reason, Counter>,
    commits: Histogram,
    commit_failures: Counter,
    failing: AtomicBool,
    /// Set when they are asked for.
    pub(crate) gauges: Gauges,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Values that are read, not counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Gauges {
    pub(crate) connections: Gauge,
    pub(crate) root_not_after: Seconds,
    pub(crate) intermediate_not_after: Seconds,
    pub(crate) certificate_not_after: Seconds,
    pub(crate) crl_next_update: Seconds,
    pub(crate) ready: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    path: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("countermark_authority")),
            requests: Family::default(),
            issued: Family::default(),
            refused: Family::default(),
            handshakes: Family::default(),
            commits: Histogram::new(sizes),
            commit_failures: Counter::default(),
            failing: AtomicBool::new(false),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = &self.gauges;
        registry.register("requests", "Requests by route and status", self.requests.clone());
        registry.register("issued", "Certificates issued, by the way they were asked for", self.issued.clone());
        registry.register("refused", "Certificates refused, and why", self.refused.clone());
        registry.register("handshakes", "TLS handshakes: ok, resumed, or why there was none", self.handshakes.clone());
        registry.register("commit_writes", "Writes that shared one transaction", self.commits.clone());
        registry.register("commit_failures", "Transactions that failed", self.commit_failures.clone());
        registry.register("connections", "Connections of callers with a certificate", gauges.connections.clone());
        registry.register("root_not_after_seconds", "When the root ends", gauges.root_not_after.clone());
        registry.register(
            "intermediate_not_after_seconds",
            "When the signing intermediate ends",
            gauges.intermediate_not_after.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "When the authority's own certificate ends",
            gauges.certificate_not_after.clone(),
        );
        registry.register(
            "crl_next_update_seconds",
            "When the first revocation list is stale",
            gauges.crl_next_update.clone(),
        );
        registry.register("ready", "1 while the authority is ready", gauges.ready.clone());
    }

    pub(crate) fn answered(&self, path: &str, status: u16) {
        self.requests.get_or_create(&Answer { path: path.to_owned(), status }).inc();
    }

    pub(crate) fn issued(&self, path: &'static str) {
        self.issued.get_or_create(&Way { path }).inc();
    }

    pub(crate) fn refused(&self, path: &'static str, reason: &'static str) {
        self.refused.get_or_create(&Refused { path, reason }).inc();
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    pub(crate) fn committed(&self, writes: usize) {
        self.failing.store(false, Ordering::Relaxed);
        self.commits.observe(writes as f64);
    }

    pub(crate) fn commit_failed(&self) {
        self.failing.store(true, Ordering::Relaxed);
        self.commit_failures.inc();
    }

    /// Whether the newest transaction failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn handshake(&self, reason: &'static str) {
        self.handshakes.get_or_create(&Reason { reason }).inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
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

    fn crowded(&self) {
        self.handshake("too_many_connections");
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}
