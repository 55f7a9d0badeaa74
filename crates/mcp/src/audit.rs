//! What is written about every decision, before anything is forwarded.

use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use countermark_identity::{Serial, UnixTime};
use countermark_policy::RuleId;
use serde::{Serialize, Serializer};
use ulid::Ulid;

/// Where decisions are written. A line that cannot be written refuses the call.
pub trait Audit: Debug + Send + Sync {
    /// Takes one line. The call goes on once the answer says that it is written, durably enough for the estate.
    ///
    /// A line that was taken is written even if nobody waits for the answer.
    fn record(&self, line: &AuditLine<'_>) -> Recording;
}

/// A line on its way: ready with whether it was written. An [`io::Result`] is one that is there already.
#[must_use = "the call may go on only once the line is written"]
pub struct Recording(State);

enum State {
    Done(io::Result<()>),
    Given,
    Waits(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>),
}

impl Recording {
    /// A line that is written later, together with others.
    pub fn later(written: impl Future<Output = io::Result<()>> + Send + 'static) -> Self {
        Self(State::Waits(Box::pin(written)))
    }
}

impl From<io::Result<()>> for Recording {
    fn from(written: io::Result<()>) -> Self {
        Self(State::Done(written))
    }
}

impl Future for Recording {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Waits(written) = &mut self.0 {
            return written.as_mut().poll(cx);
        }
        match std::mem::replace(&mut self.0, State::Given) {
            State::Done(written) => Poll::Ready(written),
            // Whoever asks twice is told nothing good.
            State::Given | State::Waits(_) => Poll::Ready(Err(io::Error::other("the answer was given before"))),
        }
    }
}

impl Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.0, State::Waits(_)) { "Recording(later)" } else { "Recording(done)" })
    }
}

/// One decision. Never holds arguments, tokens or any other content of the call.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AuditLine<'a> {
    /// When, in RFC 3339.
    #[serde(serialize_with = "text")]
    pub time: UnixTime,
    /// The id that the caller was told in a denial.
    pub decision: DecisionId,
    /// Who called.
    pub agent: &'a str,
    /// The caller's trust domain.
    pub trust_domain: &'a str,
    /// The serial number of the caller's certificate, in hex.
    #[serde(serialize_with = "text")]
    pub serial: &'a Serial,
    /// The server that was called.
    pub server: &'a str,
    /// The client that its token was issued to, in the issuer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// On whose behalf the token speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// Who acts for that one, where the token was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<&'a str>,
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
    pub rule: Option<RuleId>,
    /// From the request's headers to the decision, in microseconds; the arrival of the body included.
    pub latency_us: u64,
}

impl AuditLine<'_> {
    /// Appends the line as JSON, without a line end: the bytes that [`Serialize`] gives, made without its detours, since every
    /// call waits for them.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut id = [0; ulid::ULID_LEN];
        out.extend_from_slice(b"{\"time\":\"");
        shown(out, &self.time);
        out.extend_from_slice(b"\",\"decision\":\"");
        out.extend_from_slice(self.decision.0.array_to_str(&mut id).as_bytes());
        out.push(b'"');
        quoted(out, b",\"agent\":", Some(self.agent));
        quoted(out, b",\"trust_domain\":", Some(self.trust_domain));
        out.extend_from_slice(b",\"serial\":\"");
        shown(out, self.serial);
        out.push(b'"');
        quoted(out, b",\"server\":", Some(self.server));
        quoted(out, b",\"client\":", self.client);
        quoted(out, b",\"subject\":", self.subject);
        quoted(out, b",\"actor\":", self.actor);
        quoted(out, b",\"method\":", self.method);
        quoted(out, b",\"kind\":", self.kind);
        quoted(out, b",\"name\":", self.name);
        quoted(out, b",\"outcome\":", Some(self.outcome.as_str()));
        quoted(out, b",\"reason\":", self.reason);
        if let Some(rule) = self.rule {
            out.extend_from_slice(b",\"rule\":\"");
            shown(out, &rule);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"latency_us\":");
        shown(out, &self.latency_us);
        out.push(b'}');
    }
}

/// A member whose value is a string, if it has one.
fn quoted(out: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    let Some(value) = value else { return };
    out.extend_from_slice(key);
    // Without a branch for each byte, so that many are looked at in one step.
    let special = value.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if special {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, value);
        return;
    }
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// What needs no escape.
fn shown(out: &mut Vec<u8>, value: &impl Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
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

impl Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl Serialize for DecisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; ulid::ULID_LEN];
        serializer.serialize_str(self.0.array_to_str(&mut text))
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use countermark_identity::{AgentId, ServerId};

    use super::*;

    #[test]
    fn a_line_is_written_as_serde_would_write_it() {
        let policy =
            "version = 1\ntrust_domain = \"td\"\n[[grant]]\nwho = [\"a\"]\nservers = [\"s\"]\ntools = [\"t\"]\n";
        let policy = countermark_policy::Policy::parse(policy).unwrap();
        let domain = "td".parse().unwrap();
        let (agent, server) = (AgentId::new(&domain, "a").unwrap(), ServerId::new(&domain, "s").unwrap());
        let rule = policy.authorize(&agent, &server, countermark_policy::Action::Tool("t")).unwrap().rule();
        let serial = "0a:ff:17".parse().unwrap();
        let mut line = AuditLine {
            time: UnixTime::from_secs(1_795_420_801),
            decision: DecisionId::new(UnixTime::from_secs(1_795_420_801)),
            agent: "billing-bot",
            trust_domain: "agents.internal",
            serial: &serial,
            server: "ledger",
            client: None,
            subject: None,
            actor: None,
            method: Some("tools/call"),
            kind: Some("tool"),
            name: Some("read_balance"),
            outcome: Outcome::Permit,
            reason: None,
            rule: None,
            latency_us: 0,
        };
        let names = [None, Some(""), Some("plain"), Some("\"q\" \\ \n \u{1}\u{7f}"), Some("b\u{fc}cher \u{1f4d6}")];
        for (name, latency) in names.into_iter().zip([0, 1, 99, 12_345, u64::MAX]) {
            (line.name, line.reason, line.method, line.latency_us) = (name, name, name, latency);
            (line.client, line.subject, line.actor) = (name, name, name);
            line.rule = name.map(|_| rule);
            let mut written = b"before".to_vec();
            line.write_json(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), format!("before{}", serde_json::to_string(&line).unwrap()));
        }
    }
}
