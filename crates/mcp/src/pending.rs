//! Requests that servers have sent on the streams of an identity, and that only it may answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;
use countermark_oauth::Principal;

use crate::RequestId;
use crate::owner::Owner;

/// Server requests that wait for a response: for each agent, oldest first, with the session that they were sent in.
#[derive(Debug)]
pub(crate) struct Pending {
    per_agent: usize,
    open: Mutex<Questions>,
}

type Questions = HashMap<AgentId, VecDeque<Question>>;

/// The session, if there is one, for whom the agent called, and the request's id.
type Question = (Option<Box<str>>, Option<Principal>, RequestId<'static>);

impl Pending {
    pub(crate) fn new(per_agent: usize) -> Self {
        Self { per_agent, open: Mutex::default() }
    }

    /// The server has asked; the agent's oldest question is forgotten beyond the limit.
    pub(crate) fn asked(&self, owner: Owner<'_>, session: Option<&str>, id: RequestId<'static>) {
        let mut open = self.lock();
        let questions = open.entry(owner.agent.clone()).or_default();
        let question = (session.map(Box::from), owner.principal, id);
        if questions.contains(&question) {
            return;
        }
        if questions.len() >= self.per_agent {
            questions.pop_front();
        }
        questions.push_back(question);
    }

    /// Whether this answers a question to this identity; each question is answered once.
    pub(crate) fn take(&self, owner: Owner<'_>, session: Option<&str>, id: &RequestId<'_>) -> Option<()> {
        let mut open = self.lock();
        let questions = open.get_mut(owner.agent)?;
        let at = questions.iter().position(|(asked_in, principal, asked)| {
            asked_in.as_deref() == session && asked == id && owner.may_use(owner.agent, *principal)
        })?;
        questions.remove(at);
        if questions.is_empty() {
            open.remove(owner.agent);
        }
        Some(())
    }

    /// The session has ended, and its questions with it.
    pub(crate) fn forget(&self, agent: &AgentId, session: &str) {
        if let Some(questions) = self.lock().get_mut(agent) {
            questions.retain(|(asked_in, ..)| asked_in.as_deref() != Some(session));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_identity_answers_and_only_once() {
        let agent = |name| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let (a, b) = (agent("a"), agent("b"));
        let of = |agent| Owner { agent, principal: None };
        let pending = Pending::new(2);
        pending.asked(of(&a), Some("s"), RequestId::Number(1));
        assert_eq!(pending.take(of(&b), Some("s"), &RequestId::Number(1)), None);
        assert_eq!(pending.take(of(&a), Some("t"), &RequestId::Number(1)), None);
        assert_eq!(pending.take(of(&a), None, &RequestId::Number(1)), None);
        assert_eq!(pending.take(of(&a), Some("s"), &RequestId::String("1".into())), None);
        assert_eq!(pending.take(of(&a), Some("s"), &RequestId::Number(1)), Some(()));
        assert_eq!(pending.take(of(&a), Some("s"), &RequestId::Number(1)), None);
        for n in 0..3 {
            pending.asked(of(&a), None, RequestId::Number(n));
        }
        assert_eq!(pending.take(of(&a), None, &RequestId::Number(0)), None, "questions are bounded");
        pending.asked(of(&b), Some("s"), RequestId::Number(1));
        pending.forget(&b, "s");
        assert_eq!(pending.take(of(&b), Some("s"), &RequestId::Number(1)), None, "a session takes its questions along");
    }
}
