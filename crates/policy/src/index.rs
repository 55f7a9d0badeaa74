//! From agent and server to the rules that speak of both, without looking at any other rule.

use std::collections::HashMap;

use countermark_identity::AgentId;

use crate::glob::Pattern;
use crate::patterns::PatternIndex;

/// Agents belong to sets, servers to sets, and each pair of sets has its rules.
#[derive(Debug, Default)]
pub(crate) struct Index {
    agents: PatternIndex<u32>,
    foreign: HashMap<AgentId, Vec<u32>>,
    servers: PatternIndex<u32>,
    /// By the set of agents, then by the set of servers.
    rules: Vec<HashMap<u32, Vec<u32>>>,
}

/// An agent as the index looks it up.
pub(crate) enum Caller<'a> {
    /// Of the policy's trust domain, by its bare name.
    Own(&'a str),
    /// Of another one: only by its whole SPIFFE ID.
    Foreign(&'a AgentId),
}

/// Who belongs to a set of agents.
pub(crate) enum Member {
    Own(Pattern),
    Foreign(AgentId),
}

impl Index {
    pub(crate) fn new(
        who_sets: usize,
        members: impl IntoIterator<Item = (Member, u32)>,
        servers: impl IntoIterator<Item = (Pattern, u32)>,
    ) -> Self {
        let (mut own, mut foreign) = (Vec::new(), HashMap::<AgentId, Vec<u32>>::new());
        for (member, set) in members {
            match member {
                Member::Own(pattern) => own.push((pattern, set)),
                Member::Foreign(agent) => foreign.entry(agent).or_default().push(set),
            }
        }
        Self {
            agents: PatternIndex::new(own),
            foreign,
            servers: PatternIndex::new(servers),
            rules: vec![HashMap::new(); who_sets],
        }
    }

    /// Adds a rule under one set of agents and one set of servers.
    pub(crate) fn add_rule(&mut self, who: u32, servers: u32, rule: u32) {
        if let Some(by_servers) = usize::try_from(who).ok().and_then(|at| self.rules.get_mut(at)) {
            by_servers.entry(servers).or_default().push(rule);
        }
    }

    pub(crate) fn names_server(&self, server: &str) -> bool {
        let mut named = false;
        self.servers.look_up(server, |_| named = true);
        named
    }

    /// Hands each rule that speaks of this agent and this server to `take`; a rule may come more than once.
    pub(crate) fn look_up(&self, caller: &Caller<'_>, server: &str, mut take: impl FnMut(u32)) {
        let mut server_sets = Vec::new();
        self.servers.look_up(server, |set| server_sets.push(set));
        server_sets.sort_unstable();
        server_sets.dedup();
        let mut take_set = |set: u32| {
            let Some(by_servers) = usize::try_from(set).ok().and_then(|at| self.rules.get(at)) else { return };
            // Whichever is shorter: the sets that the server is in, or those that this set of agents has rules for.
            if server_sets.len() <= by_servers.len() {
                let rules = server_sets.iter().filter_map(|servers| by_servers.get(servers));
                rules.flatten().copied().for_each(&mut take);
            } else {
                let rules = by_servers.iter().filter(|(servers, _)| server_sets.binary_search(servers).is_ok());
                rules.flat_map(|(_, rules)| rules).copied().for_each(&mut take);
            }
        };
        self.look_up_sets(caller, &mut take_set);
    }

    /// Hands each set of agents that this one belongs to to `take`; a set may come more than once.
    pub(crate) fn look_up_sets(&self, caller: &Caller<'_>, mut take: impl FnMut(u32)) {
        match caller {
            Caller::Own(name) => self.agents.look_up(name, take),
            Caller::Foreign(agent) => self.foreign.get(*agent).into_iter().flatten().copied().for_each(&mut take),
        }
    }
}
