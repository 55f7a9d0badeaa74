//! What is written about every decision, before anything is forwarded.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use countermark_identity::UnixTime;
use serde::Serialize;
use ulid::Ulid;

/// Where decisions are written. A line that cannot be written refuses the call.
pub trait Audit: Debug + Send + Sync {
    /// Writes one line, durably enough for the estate.
    ///
    /// # Errors
    /// The line was not written.
    fn record(&self, line: &AuditLine<'_>) -> io::Result<()>;
}

/// One decision. Never holds arguments, tokens or any other content of the call.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AuditLine<'a> {
    /// When, RFC 3339.
    pub time: String,
    /// The id that the caller was told in a denial.
    pub decision: DecisionId,
    /// Who called.
    pub agent: &'a str,
    /// The caller's trust domain.
    pub trust_domain: &'a str,
    /// The serial number of the caller's certificate.
    pub serial: &'a str,
    /// The server that was called.
    pub server: &'a str,
    /// The method, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// What kind of thing was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// What was decided.
    pub outcome: Outcome,
    /// Why, if it was not permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// From the request's headers to the decision, in microseconds; the arrival of the body included.
    pub latency_us: u64,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a new outcome must break whoever counts them")]
pub enum Outcome {
    /// Forwarded.
    Permit,
    /// The policy denies it.
    Denied,
    /// The policy has no grant for it, and it was forwarded all the same: the layer only observes.
    WouldDeny,
    /// Bad input: refused before the policy was asked.
    Refused,
    /// A stream was ended because the right to it ended.
    Ended,
}

impl Outcome {
    /// Its name in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Denied => "denied",
            Self::WouldDeny => "would_deny",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// Names one decision: a [ULID](https://github.com/ulid/spec), so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(Ulid);

impl DecisionId {
    /// A new one: the second, this process, and a count.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let low = u128::from(*PROCESS) << 32 | u128::from(count);
        Self(Ulid::from_parts(now.as_secs().saturating_mul(1000), low))
    }
}

impl std::fmt::Display for DecisionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for DecisionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; ulid::ULID_LEN];
        serializer.serialize_str(self.0.array_to_str(&mut text))
    }
}
