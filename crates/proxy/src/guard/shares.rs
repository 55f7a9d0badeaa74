//! How much of guard one agent may hold, so that none shuts the others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use countermark_identity::AgentId;

/// One agent may hold this part of what all may.
const PART: usize = 4;

/// Who holds how many requests, and answers whose last byte is not out.
#[derive(Debug)]
pub(crate) struct Shares {
    requests: usize,
    answers: usize,
    /// Open answers of all agents.
    open: Count,
    agents: Mutex<Agents>,
}

#[derive(Debug)]
struct Agents {
    counts: HashMap<AgentId, Counts>,
    /// With so many it is time to forget those that hold nothing.
    many: usize,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    requests: Count,
    answers: Count,
}

/// How many are held.
type Count = Arc<AtomicUsize>;

/// One of them; given back when dropped.
#[derive(Debug)]
struct One(Count);

/// A request without response headers yet.
#[derive(Debug)]
pub(crate) struct Asking(#[expect(dead_code, reason = "held, then dropped")] One);

/// A request until the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Answering(#[expect(dead_code, reason = "held, then dropped")] [One; 2]);

impl Shares {
    /// Of so many requests in flight and so many open answers of all agents.
    pub(crate) fn new(requests: usize, answers: usize) -> Self {
        let agents = Mutex::new(Agents { counts: HashMap::new(), many: FEW });
        Self { requests, answers, open: Count::default(), agents }
    }

    /// A request of this agent; `None` when it, or all together, hold as many as they may.
    pub(crate) fn take(&self, agent: &AgentId) -> Option<(Asking, Answering)> {
        let counts = self.agents.lock().unwrap_or_else(PoisonError::into_inner).counts(agent);
        let answer = One::of(&counts.answers, self.answers.div_ceil(PART))?;
        let request = One::of(&counts.requests, self.requests.div_ceil(PART))?;
        let open = One::of(&self.open, self.answers)?;
        Some((Asking(request), Answering([open, answer])))
    }
}

impl Agents {
    fn counts(&mut self, agent: &AgentId) -> Counts {
        if let Some(counts) = self.counts.get(agent) {
            return counts.clone();
        }
        if self.counts.len() >= self.many {
            self.counts.retain(|_, counts| counts.is_held());
            self.many = (self.counts.len() * 2).max(FEW);
        }
        self.counts.entry(agent.clone()).or_default().clone()
    }
}

impl Counts {
    fn is_held(&self) -> bool {
        [&self.requests, &self.answers].into_iter().any(|count| Arc::strong_count(count) > 1)
    }
}

impl One {
    /// One more, unless there are as many as there may be.
    fn of(count: &Count, most: usize) -> Option<Self> {
        let more = |held| (held < most).then_some(held + 1);
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// So many agents are remembered whether or not they hold anything.
const FEW: usize = 1024;

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
        assert_eq!(shares.open.load(Ordering::Acquire), 0, "nothing is left behind");
    }

    #[test]
    fn who_holds_nothing_is_forgotten_in_time() {
        let agent = |number| AgentId::new(&"agents.internal".parse().unwrap(), &format!("a{number}")).unwrap();
        let shares = Shares::new(8, 12);
        let kept = shares.take(&agent(0));
        for number in 1..3 * FEW {
            drop(shares.take(&agent(number)));
        }
        let remembered = |agent| shares.agents.lock().unwrap().counts.contains_key(&agent);
        assert!(kept.is_some() && remembered(agent(0)) && !remembered(agent(1)));
        assert!(shares.agents.lock().unwrap().counts.len() <= FEW);
    }
}
