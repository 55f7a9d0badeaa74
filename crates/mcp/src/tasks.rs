//! Tasks, each bound to the identity and the call that made it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countermark_identity::AgentId;

use crate::method::Demand;

/// Which call made which task, for each agent.
#[derive(Debug)]
pub(crate) struct Tasks {
    per_agent: usize,
    made: Mutex<Makers>,
}

/// Each agent's tasks, oldest first, with what made them.
type Makers = HashMap<AgentId, VecDeque<(Box<str>, Demand)>>;

impl Tasks {
    pub(crate) fn new(per_agent: usize) -> Self {
        Self { per_agent, made: Mutex::default() }
    }

    /// This call of this agent made this task. The agent's oldest task is forgotten beyond its limit.
    pub(crate) fn made(&self, agent: &AgentId, task: &str, by: &Demand) {
        // What is remembered of other sides is bounded in size, too.
        if task.len() > 1024 || by.name().is_some_and(|name| name.len() > 8192) {
            return;
        }
        let mut made = self.lock();
        let tasks = made.entry(agent.clone()).or_default();
        if tasks.iter().any(|(known, _)| **known == *task) {
            return;
        }
        if tasks.len() >= self.per_agent {
            tasks.pop_front();
        }
        tasks.push_back((task.into(), by.clone()));
    }

    /// What made this task, if this agent made it.
    pub(crate) fn maker(&self, agent: &AgentId, task: &str) -> Option<Demand> {
        let made = self.lock();
        let (_, demand) = made.get(agent)?.iter().find(|(known, _)| **known == *task)?;
        Some(demand.clone())
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
        let tasks = Tasks::new(2);
        let tool = Demand::Tool("post".into());
        tasks.made(&agent("a"), "t1", &tool);
        assert_eq!(tasks.maker(&agent("a"), "t1"), Some(tool.clone()));
        assert_eq!(tasks.maker(&agent("b"), "t1"), None);
        tasks.made(&agent("a"), "t1", &Demand::Tool("read".into()));
        assert_eq!(tasks.maker(&agent("a"), "t1"), Some(tool.clone()), "the first maker stays");
        tasks.made(&agent("a"), "t2", &tool);
        tasks.made(&agent("a"), "t3", &tool);
        assert_eq!(tasks.maker(&agent("a"), "t1"), None);
    }
}
