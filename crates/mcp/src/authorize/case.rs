//! One request under judgement: what is known of it, for the audit and for the answer.

use std::borrow::Cow;
use std::time::Instant;

use countermark_mtls::VerifiedPeer;
use countermark_oauth::VerifiedToken;
use countermark_policy::{Permit, Rights, RuleId};
use http::StatusCode;
use serde_json::json;

use super::Authorization;
use super::verdict::{Denial, Holder, Verdict};
use crate::method::Demand;
use crate::owner::Owner;
use crate::refusal::{Refusal, code};
use crate::tokens::Shown;
use crate::{AuditLine, DecisionId, Outcome, Recording, RequestId};

/// The facts of one request, gathered as they become known.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) peer: VerifiedPeer,
    pub(super) token: Option<Shown>,
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
            token: None,
            decision: DecisionId::new(config.clock.now()),
            started: Instant::now(),
            method: None,
            id: None,
            demands: Vec::new(),
        }
    }

    /// A stream that its caller keeps open for whatever may come.
    pub(super) fn never_ends(&self) -> bool {
        matches!(self.method.as_deref(), Some("GET" | "subscriptions/listen"))
    }

    fn token(&self) -> Option<&VerifiedToken> {
        self.token.as_ref().map(|shown| &*shown.verified)
    }

    /// Who asks, and what its token gives it.
    pub(super) fn holder(&self) -> Holder<'_> {
        let rights = self.token().map_or(Rights::NONE, |token| Rights::new(token.scopes(), token.roles()));
        Holder { owner: self.owner(), rights }
    }

    /// Whose is what comes of the request.
    pub(super) fn owner(&self) -> Owner<'_> {
        Owner { agent: self.peer.agent(), principal: self.token().map(VerifiedToken::principal) }
    }

    /// Writes the line of a refusal and gives its answer.
    pub(super) async fn refuse(&self, config: &Authorization, refusal: Refusal) -> Refusal {
        let told = refusal.challenge.as_ref().and_then(|challenge| challenge.description.as_deref());
        let reason = told.unwrap_or(&refusal.message);
        let recording = self.record(config, Outcome::Refused, self.demands.first(), Some(reason), None);
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
        let lack = denial.lacks_scopes(&config.policy.borrow()).and_then(|scopes| {
            let shown = self.token.is_some();
            config.tokens.lack(&scopes, shown)
        });
        if let Some((status, challenge)) = lack {
            return Refusal {
                data: Some(json!({ "decision": self.decision.to_string() })),
                challenge: Some(challenge),
                ..Refusal::new(status, code::INVALID_PARAMS, format!("{what} (decision {})", self.decision))
            };
        }
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
            client: self.token().map(VerifiedToken::client),
            subject: self.token().map(VerifiedToken::subject),
            actor: self.token().and_then(|token| token.actors().first()).map(AsRef::as_ref),
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
