//! How many questions each agent has open: whoever invents tokens does not hold up the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;

/// Open questions by agent.
#[derive(Debug, Default)]
pub(super) struct Shares(Arc<Open>);

type Open = Mutex<HashMap<AgentId, usize>>;

/// One open question.
pub(super) struct Share {
    open: Arc<Open>,
    agent: AgentId,
}

impl Shares {
    /// One more question of this agent; nothing where it has as many open as it may.
    pub(super) fn take(&self, agent: &AgentId) -> Option<Share> {
        let mut open = lock(&self.0);
        let held = open.entry(agent.clone()).or_default();
        if *held >= EACH {
            return None;
        }
        *held += 1;
        Some(Share { open: Arc::clone(&self.0), agent: agent.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(held) = open.get_mut(&self.agent) {
            *held -= 1;
            if *held == 0 {
                open.remove(&self.agent);
            }
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<AgentId, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A quarter of the places.
const EACH: usize = super::AT_ONCE / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_has_a_share_and_gives_it_back() {
        let agent = |name: &str| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let shares = Shares::default();
        let held: Vec<_> = (0..EACH).map(|_| shares.take(&agent("a")).unwrap()).collect();
        assert!(shares.take(&agent("a")).is_none());
        assert!(shares.take(&agent("b")).is_some());
        drop(held);
        assert!(lock(&shares.0).is_empty());
        assert!(shares.take(&agent("a")).is_some());
    }
}
