//! How much of guard one agent may hold, so that none shuts the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;

/// One agent may hold this part of what all may.
const PART: usize = 4;

/// Who holds how many requests, and answers whose last byte is not out.
#[derive(Debug)]
pub(crate) struct Shares {
    requests: usize,
    answers: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    answers: usize,
    by_agent: HashMap<AgentId, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: usize,
    answers: usize,
}

/// A request without response headers yet; given back when dropped.
#[derive(Debug)]
pub(crate) struct Asking(Arc<Shares>, AgentId);

/// A request until the last byte of its answer; given back when dropped.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Shares>, AgentId);

impl Shares {
    /// Of so many requests in flight and so many open answers of all agents.
    pub(crate) fn new(requests: usize, answers: usize) -> Arc<Self> {
        Arc::new(Self { requests, answers, held: Mutex::default() })
    }

    /// A request of this agent; `None` when it, or all together, hold as many as they may.
    pub(crate) fn take(self: &Arc<Self>, agent: &AgentId) -> Option<(Asking, Answering)> {
        let mut held = self.lock();
        let counts = held.by_agent.get(agent).map_or((0, 0), |counts| (counts.requests, counts.answers));
        let (requests, answers) = (self.requests.div_ceil(PART), self.answers.div_ceil(PART));
        if held.answers >= self.answers || counts.0 >= requests || counts.1 >= answers {
            return None;
        }
        held.answers += 1;
        let counts = held.by_agent.entry(agent.clone()).or_default();
        counts.requests += 1;
        counts.answers += 1;
        Some((Asking(Arc::clone(self), agent.clone()), Answering(Arc::clone(self), agent.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn give_back(&mut self, agent: &AgentId, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.by_agent.get_mut(agent) {
            change(counts);
            if counts.requests == 0 && counts.answers == 0 {
                self.by_agent.remove(agent);
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().give_back(&self.1, |counts| counts.requests -= 1);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.answers -= 1;
        held.give_back(&self.1, |counts| counts.answers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_holds_a_part_and_gives_it_back() {
        let agent = |name| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let (a, b) = (agent("a"), agent("b"));
        let shares = Shares::new(8, 12);
        let (first, second) = (shares.take(&a).unwrap(), shares.take(&a).unwrap());
        assert!(shares.take(&a).is_none(), "a quarter of the requests");
        assert!(shares.take(&b).is_some());
        let (asking, answer) = first;
        drop(asking);
        let third = shares.take(&a).unwrap();
        drop((second.0, third.0));
        assert!(shares.take(&a).is_none(), "a quarter of the open answers, streams among them");
        drop((answer, second.1, third.1));
        assert!(shares.lock().by_agent.is_empty() && shares.lock().answers == 0, "nothing is left behind");
    }
}
