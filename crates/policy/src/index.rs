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
    /// By the set of agents: each set of servers with a rule, in this order.
    rules: Vec<Vec<(u32, u32)>>,
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
            rules: vec![Vec::new(); who_sets],
        }
    }

    /// Adds rules, each under one set of agents and one set of servers.
    pub(crate) fn with_rules(mut self, rules: impl IntoIterator<Item = (u32, u32, u32)>) -> Self {
        for (who, servers, rule) in rules {
            if let Some(list) = usize::try_from(who).ok().and_then(|at| self.rules.get_mut(at)) {
                list.push((servers, rule));
            }
        }
        self.rules.iter_mut().for_each(|list| list.sort_unstable());
        self
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
            let Some(rules) = usize::try_from(set).ok().and_then(|at| self.rules.get(at)) else { return };
            // Few rules are gone through; among many, those for each of the server's sets are found.
            if rules.len() <= FEW {
                let ours = rules.iter().filter(|(servers, _)| server_sets.contains(servers));
                return ours.for_each(|&(_, rule)| take(rule));
            }
            for &wanted in &server_sets {
                let start = rules.partition_point(|&(servers, _)| servers < wanted);
                let ours = rules.iter().skip(start).take_while(|&&(servers, _)| servers == wanted);
                ours.for_each(|&(_, rule)| take(rule));
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

const FEW: usize = 8;
