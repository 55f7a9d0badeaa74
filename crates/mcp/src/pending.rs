//! Requests that servers have sent on the streams of an identity, and that only it may answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;

use crate::RequestId;

/// A stream belongs to an identity, and in the older era to one of its sessions.
type Owner = (AgentId, Option<Box<str>>);

/// Server requests that wait for a response.
#[derive(Debug)]
pub(crate) struct Pending {
    per_owner: usize,
    open: Mutex<HashMap<Owner, VecDeque<RequestId<'static>>>>,
}

impl Pending {
    pub(crate) fn new(per_owner: usize) -> Self {
        Self { per_owner, open: Mutex::default() }
    }

    /// The server has asked; the oldest question is forgotten beyond the limit.
    pub(crate) fn asked(&self, agent: &AgentId, session: Option<&str>, id: RequestId<'static>) {
        let mut open = self.lock();
        let ids = open.entry(owner(agent, session)).or_default();
        if ids.contains(&id) {
            return;
        }
        if ids.len() >= self.per_owner {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    /// Whether this answers a question to this identity; each question is answered once.
    pub(crate) fn take(&self, agent: &AgentId, session: Option<&str>, id: &RequestId<'_>) -> Option<()> {
        let mut open = self.lock();
        let owner = owner(agent, session);
        let ids = open.get_mut(&owner)?;
        let at = ids.iter().position(|open| open == id)?;
        ids.remove(at);
        if ids.is_empty() {
            open.remove(&owner);
        }
        Some(())
    }

    /// The session has ended, and its questions with it.
    pub(crate) fn forget(&self, agent: &AgentId, session: &str) {
        self.lock().remove(&owner(agent, Some(session)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, VecDeque<RequestId<'static>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(agent: &AgentId, session: Option<&str>) -> Owner {
    (agent.clone(), session.map(Box::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_identity_answers_and_only_once() {
        let agent = |name| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let (a, b) = (agent("a"), agent("b"));
        let pending = Pending::new(2);
        pending.asked(&a, Some("s"), RequestId::Number(1));
        assert_eq!(pending.take(&b, Some("s"), &RequestId::Number(1)), None);
        assert_eq!(pending.take(&a, Some("t"), &RequestId::Number(1)), None);
        assert_eq!(pending.take(&a, None, &RequestId::Number(1)), None);
        assert_eq!(pending.take(&a, Some("s"), &RequestId::String("1".into())), None);
        assert_eq!(pending.take(&a, Some("s"), &RequestId::Number(1)), Some(()));
        assert_eq!(pending.take(&a, Some("s"), &RequestId::Number(1)), None);
        for n in 0..3 {
            pending.asked(&a, None, RequestId::Number(n));
        }
        assert_eq!(pending.take(&a, None, &RequestId::Number(0)), None, "questions are bounded");
    }
}
