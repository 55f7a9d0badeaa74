//! Whether guard is ready, and the values that are read when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countermark_identity::{Clock, Identity as Who, ServerId};
use countermark_mcp::Tokens;
use countermark_mtls::{Registry, TrustGeneration};
use tokio::sync::watch;

use super::admin::Ready;
use super::audit::LastFailure;
use super::metrics::{Domain, Metrics};
use super::policy_file::PolicyFile;
use crate::identity::Identity;
use crate::upstream::Behind;

/// What readiness depends on.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) identity: Identity,
    pub(crate) trust: watch::Receiver<Arc<TrustGeneration>>,
    pub(crate) policy: Arc<PolicyFile>,
    pub(crate) audit: Arc<LastFailure>,
    pub(crate) registry: Registry,
    pub(crate) behind: Behind,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
    pub(crate) draining: AtomicBool,
}

impl State {
    /// Closes the connections of agents whose last grant on this server a new policy took away.
    pub(crate) async fn follow_policy(self: Arc<Self>, server: ServerId) {
        let mut policy = self.policy.policy();
        let mut old = policy.borrow_and_update().clone();
        while policy.changed().await.is_ok() {
            let new = policy.borrow_and_update().clone();
            let ended = self.registry.end_where(|identity| match identity {
                Who::Agent(agent) if old.could(agent, &server) && !new.could(agent, &server) => {
                    Some("the policy grants it nothing here any more".to_owned())
                }
                _ => None,
            });
            if ended > 0 {
                tracing::info!(ended, "connections ended with the policy that permitted them");
            }
            old = new;
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn gauges(&self) {
        let gauges = &self.metrics.gauges;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        gauges.connections.set(number(self.registry.len()));
        gauges.processes.set(number(self.behind.processes()));
        gauges.credential_not_after.set(seconds(self.identity.credential().leaf().not_after().as_secs()));
        let generation = self.trust.borrow().clone();
        gauges.trust_generation.set(i64::try_from(generation.id()).unwrap_or(i64::MAX));
        for trust_domain in generation.trust().trust_domains() {
            let soonest = generation.trust().crls(trust_domain).iter().map(|crl| crl.next_update().as_secs()).min();
            if let Some(soonest) = soonest {
                let label = Domain { trust_domain: trust_domain.to_string() };
                gauges.crl_next_update.get_or_create(&label).set(seconds(soonest));
            }
        }
    }
}

impl Ready for State {
    fn examine(&self) -> Vec<String> {
        self.gauges();
        let mut reasons = self.identity.problems();
        reasons.extend(self.policy.problem());
        reasons.extend(self.audit.problem());
        if self.tokens.rules().is_some_and(|rules| !rules.verifier().is_ready()) {
            reasons.push("the keys of an issuer of tokens are not known yet; see the log".to_owned());
        }
        let not_after = self.identity.credential().leaf().not_after();
        if self.clock.now() > not_after {
            reasons.push(format!("guard's own certificate expired at {not_after}; renew it into the same directory"));
        }
        if self.draining.load(Ordering::Acquire) {
            reasons.push("guard is draining".to_owned());
        }
        self.metrics.gauges.ready.set(i64::from(reasons.is_empty()));
        reasons
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 52 bits")]
fn seconds(seconds: u64) -> f64 {
    seconds as f64
}
