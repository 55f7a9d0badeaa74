//! Tasks, each bound to the identity, the person it acted for and the call that made it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;
use countermark_oauth::Principal;

use crate::method::Demand;
use crate::owner::Owner;

/// Which call made which task, for each agent.
#[derive(Debug)]
pub(crate) struct Tasks {
    per_agent: usize,
    made: Mutex<Makers>,
}

/// Each agent's tasks, oldest first.
type Makers = HashMap<AgentId, VecDeque<Made>>;

/// One task, for whom it was made and by what.
#[derive(Debug)]
struct Made {
    task: Box<str>,
    principal: Option<Principal>,
    by: Demand,
}

impl Tasks {
    pub(crate) fn new(per_agent: usize) -> Self {
        Self { per_agent, made: Mutex::default() }
    }

    /// This call of this agent made this task. The agent's oldest task is forgotten beyond its limit.
    pub(crate) fn made(&self, owner: Owner<'_>, task: &str, by: &Demand) {
        // What is remembered of other sides is bounded in size, too.
        if task.len() > 1024 || by.name().is_some_and(|name| name.len() > 8192) {
            return;
        }
        let mut made = self.lock();
        let tasks = made.entry(owner.agent.clone()).or_default();
        if tasks.iter().any(|known| *known.task == *task) {
            return;
        }
        if tasks.len() >= self.per_agent {
            tasks.pop_front();
        }
        tasks.push_back(Made { task: task.into(), principal: owner.principal, by: by.clone() });
    }

    /// What made this task, if this agent made it for whom it calls now, or without a token.
    pub(crate) fn maker(&self, owner: Owner<'_>, task: &str) -> Option<Demand> {
        let made = self.lock();
        let known = made.get(owner.agent)?.iter().find(|known| *known.task == *task)?;
        owner.may_use(owner.agent, known.principal).then(|| known.by.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Makers> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_its_makers_alone_and_bounded() {
        let agent = |name| AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap();
        let (a, b) = (agent("a"), agent("b"));
        let of = |agent| Owner { agent, principal: None };
        let tasks = Tasks::new(2);
        let tool = Demand::Tool("post".into());
        tasks.made(of(&a), "t1", &tool);
        assert_eq!(tasks.maker(of(&a), "t1"), Some(tool.clone()));
        assert_eq!(tasks.maker(of(&b), "t1"), None);
        tasks.made(of(&a), "t1", &Demand::Tool("read".into()));
        assert_eq!(tasks.maker(of(&a), "t1"), Some(tool.clone()), "the first maker stays");
        tasks.made(of(&a), "t2", &tool);
        tasks.made(of(&a), "t3", &tool);
        assert_eq!(tasks.maker(of(&a), "t1"), None);
    }
}
