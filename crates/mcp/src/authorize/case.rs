//! One request under judgement: what is known of it, for the audit and for the answer.

use std::borrow::Cow;
use std::time::Instant;

use countermark_mtls::VerifiedPeer;
use countermark_policy::{Permit, RuleId};
use http::StatusCode;
use serde_json::json;

use super::Authorization;
use super::verdict::{Denial, Verdict};
use crate::method::Demand;
use crate::refusal::{Refusal, code};
use crate::{AuditLine, DecisionId, Outcome, Recording, RequestId};

/// The facts of one request, gathered as they become known.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) peer: VerifiedPeer,
    pub(super) decision: DecisionId,
    pub(super) started: Instant,
    pub(super) method: Option<Box<str>>,
    pub(super) id: Option<RequestId<'static>>,
    pub(super) demands: Vec<Demand>,
}

/// Names longer than this are cut in answers and audit lines.
const SHOWN: usize = 1024;

impl Case {
    pub(super) fn new(peer: VerifiedPeer, config: &Authorization) -> Self {
        Self {
            peer,
            decision: DecisionId::new(config.clock.now()),
            started: Instant::now(),
            method: None,
            id: None,
            demands: Vec::new(),
        }
    }

    /// Writes the line of a refusal and gives its answer.
    pub(super) async fn refuse(&self, config: &Authorization, refusal: Refusal) -> Refusal {
        let recording = self.record(config, Outcome::Refused, self.demands.first(), Some(&refusal.message), None);
        match self.written(recording).await {
            Ok(()) => refusal,
            Err(unwritten) => unwritten,
        }
    }

    /// Writes the line of a denial and gives its answer, the same for what does not exist and for what is not granted.
    pub(super) async fn deny(&self, config: &Authorization, denial: &Denial) -> Refusal {
        let demand = self.demands.get(denial.demand);
        let recording = self.record(config, Outcome::Denied, demand, Some(&denial.to_string()), denial.rule());
        if let Err(unwritten) = self.written(recording).await {
            return unwritten;
        }
        let agent = self.peer.agent();
        let what = match demand.and_then(Demand::name) {
            Some(name) => format!("`{}` is not available to `{agent}` on `{}`", shown(name), config.server),
            None => format!("`{}` is not available to `{agent}`", config.server),
        };
        let (status, code) = match demand {
            Some(Demand::Method(_)) => (StatusCode::NOT_FOUND, code::METHOD_NOT_FOUND),
            _ if self.id.is_none() => (StatusCode::FORBIDDEN, code::INVALID_PARAMS),
            _ => (config.deny_status.into(), code::INVALID_PARAMS),
        };
        Refusal {
            data: Some(json!({ "decision": self.decision.to_string() })),
            ..Refusal::new(status, code, format!("{what} (decision {})", self.decision))
        }
    }

    /// Writes the line of what is about to be forwarded.
    pub(super) async fn permit(&self, config: &Authorization, verdict: &Verdict) -> Result<(), Refusal> {
        let demand = self.demands.first();
        let recording = match &verdict.would_deny {
            Some(denial) => {
                let demand = self.demands.get(denial.demand);
                self.record(config, Outcome::WouldDeny, demand, Some(&denial.to_string()), None)
            }
            None => {
                let rule = verdict.permit.as_ref().map(Permit::rule);
                self.record(config, Outcome::Permit, demand, None, rule)
            }
        };
        self.written(recording).await
    }

    /// Writes the line of a stream that is ended; it ends whether or not the line can be written.
    pub(super) fn ended(&self, config: &Authorization, reason: &str) {
        drop(self.record(config, Outcome::Ended, self.demands.first(), Some(reason), None));
    }

    fn record(
        &self,
        config: &Authorization,
        outcome: Outcome,
        demand: Option<&Demand>,
        reason: Option<&str>,
        rule: Option<RuleId>,
    ) -> Recording {
        let agent = self.peer.agent();
        let name = demand.and_then(Demand::name).map(shown);
        let method = self.method.as_deref().map(shown);
        let line = AuditLine {
            time: config.clock.now(),
            decision: self.decision,
            agent: agent.name(),
            trust_domain: agent.trust_domain().as_str(),
            serial: self.peer.leaf().serial(),
            server: config.server.name(),
            method: method.as_deref(),
            kind: demand.map(Demand::kind),
            name: name.as_deref(),
            outcome,
            reason,
            rule,
            latency_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        config.audit.record(&line)
    }

    /// The answer to a call whose line could not be written.
    async fn written(&self, recording: Recording) -> Result<(), Refusal> {
        recording.await.map_err(|error| {
            tracing::error!(%error, decision = %self.decision, "the audit cannot be written: the call is refused");
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code::INTERNAL_ERROR,
                format!("the decision cannot be recorded, so the call is refused (decision {})", self.decision),
            )
        })
    }
}

fn shown(name: &str) -> Cow<'_, str> {
    if name.len() <= SHOWN {
        return Cow::Borrowed(name);
    }
    let end = (0..=SHOWN).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}\u{2026}", name.get(..end).unwrap_or_default()))
}
