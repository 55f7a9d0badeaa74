//! How many questions each agent has open: whoever invents tokens does not hold up the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use countermark_identity::AgentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open questions by agent.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<AgentId, Arc<Semaphore>>>);

impl Shares {
    /// One more open question of this agent, as soon as it has fewer than it may; none only where the process ends.
    pub(super) async fn take(&self, agent: &AgentId) -> Option<OwnedSemaphorePermit> {
        let share = {
            let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if shares.len() >= FEW {
                // Nobody holds one of them, nor waits for one.
                shares.retain(|_, share| Arc::strong_count(share) > 1);
            }
            Arc::clone(shares.entry(agent.clone()).or_insert_with(|| Arc::new(Semaphore::new(EACH))))
        };
        share.acquire_owned().await.ok()
    }
}

/// A quarter of the places.
const EACH: usize = super::AT_ONCE / 4;
/// So few that nobody looks whether they are used.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_agent_has_a_share_and_waits_for_no_other() {
        let agent = |name: &str| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let shares = Shares::default();
        let mut held = Vec::new();
        for _ in 0..EACH {
            held.push(shares.take(&agent("a")).await.unwrap());
        }
        assert!(shares.take(&agent("a")).now_or_never().is_none());
        assert!(shares.take(&agent("b")).now_or_never().is_some());
        let other = agent("a");
        let waiting = shares.take(&other);
        held.pop();
        assert!(waiting.await.is_some());
        for number in 0..2 * FEW {
            drop(shares.take(&agent(&number.to_string())).await.unwrap());
        }
        assert!(shares.0.lock().unwrap().len() <= FEW, "those that are not used are forgotten");
        assert!(shares.0.lock().unwrap().contains_key(&agent("a")), "the others are not");
    }
}
