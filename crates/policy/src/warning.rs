//! What a policy file says without a fault, but probably does not mean.

use std::collections::HashSet;

use countermark_identity::{AgentId, ServerId};
use serde::Serialize;

use crate::glob::Pattern;
use crate::index::Caller;
use crate::policy::{Compiled, Rule, WhoSet};
use crate::text::Place;
use crate::{Effect, Kind, Policy, RuleId};

/// A warning, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is odd.
    pub warning: Warning,
}

/// What is odd about a policy file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A deny of `*` that leaves an agent of another trust domain what a grant gives it.
    #[error("{rule} is for agents of the own trust domain only: {} keeps what {grant} gives on the same servers", .agent.spiffe_id())]
    DenyMissesForeign {
        /// The deny.
        rule: RuleId,
        /// The first such agent.
        agent: AgentId,
        /// The grant.
        grant: RuleId,
    },
    /// A grant that a deny takes away whole.
    #[error("{rule} permits nothing: {by} takes all of it away")]
    DeniedWhole {
        /// The grant.
        rule: RuleId,
        /// The deny.
        by: RuleId,
    },
    /// An agent that the map names and no grant does.
    #[error("{agent:?} is mapped, but no grant names it")]
    MappedWithoutGrant {
        /// The agent's name.
        agent: String,
    },
    /// No grant at all.
    #[error("the policy has no grant: nobody may call anything")]
    NoGrants,
    /// The server that this policy is for is not in it.
    #[error("no rule names the server {server:?}: nobody may call it")]
    ServerNotNamed {
        /// The server's name.
        server: String,
    },
    /// A rule that an earlier one of the same effect covers.
    #[error("{rule} never decides: {by} already says all of it")]
    Unreachable {
        /// The rule.
        rule: RuleId,
        /// The one that decides before it.
        by: RuleId,
    },
    /// An agent that the authority has never made a certificate for.
    #[error("no certificate was ever made for the agent {agent:?}")]
    UnknownAgent {
        /// The agent's name.
        agent: String,
    },
    /// A group that no rule and no other group names.
    #[error("no rule names @{group}")]
    UnusedGroup {
        /// The group's name.
        group: String,
    },
}

impl Finding {
    fn new(place: Place, warning: Warning) -> Self {
        Self { line: place.line, column: place.column, warning }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.warning)
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Finding", 3)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("message", &self.warning.to_string())?;
        fields.end()
    }
}

impl Policy {
    /// The warning that this server is not in the policy, if so.
    #[must_use]
    pub fn warning_for(&self, server: &ServerId) -> Option<Warning> {
        let server_name = || server.name().to_owned();
        (!self.names_server(server)).then(|| Warning::ServerNotNamed { server: server_name() })
    }

    /// The agents that rules name exactly and that `is_known` does not know, in the order of the file.
    ///
    /// Agents that the map stands for have other people's certificates, and are not asked about.
    #[must_use]
    pub fn unknown_agents(&self, is_known: impl Fn(&AgentId) -> bool) -> Vec<Finding> {
        let mapped: HashSet<&str> = self.compiled.mapped.iter().map(|(agent, _)| agent.as_str()).collect();
        let mut unknown = Vec::new();
        for rule in &self.compiled.rules {
            for set in sets(&self.compiled, rule) {
                let unminted = |agent: &AgentId| !mapped.contains(agent.name()) && !is_known(agent);
                for agent in self.exact_agents(set).filter(unminted) {
                    let place = set.group.as_ref().map_or(rule.place, |group| group.place);
                    unknown.push(Finding::new(place, Warning::UnknownAgent { agent: agent.name().to_owned() }));
                }
            }
        }
        in_order(unknown)
    }

    fn exact_agents<'a>(&'a self, set: &'a WhoSet) -> impl Iterator<Item = AgentId> + 'a {
        set.names.iter().filter_map(|pattern| match pattern {
            Pattern::Exact(name) => AgentId::new(self.trust_domain(), name).ok(),
            Pattern::Glob(_) => None,
        })
    }
}

pub(crate) fn findings(compiled: &Compiled) -> Vec<Finding> {
    let mut found = Vec::new();
    if !compiled.rules.iter().any(|rule| rule.id.effect() == Effect::Grant) {
        found.push(Finding::new(Place { line: 1, column: 1 }, Warning::NoGrants));
    }
    let groups = compiled.sets.iter().filter_map(|set| set.group.as_ref());
    found.extend(
        groups
            .filter(|group| !group.used)
            .map(|group| Finding::new(group.place, Warning::UnusedGroup { group: group.name.clone() })),
    );
    found.extend(mapped_without_grant(compiled));
    found.extend(compiled.rules.iter().filter_map(|rule| unreachable(compiled, rule)));
    found.extend(compiled.rules.iter().filter_map(|rule| misses_foreign(compiled, rule)));
    in_order(found)
}

/// A star in `who` never stands for another trust domain's agents, in a deny as in a grant.
fn misses_foreign(compiled: &Compiled, deny: &Rule) -> Option<Finding> {
    let is_for_all = || sets(compiled, deny).flat_map(|set| set.names.iter()).any(Pattern::is_everything);
    if deny.id.effect() != Effect::Deny || !is_for_all() {
        return None;
    }
    let denied: HashSet<&AgentId> = sets(compiled, deny).flat_map(|set| &set.foreign).collect();
    let servers = list(compiled, deny.servers)?;
    let shares_server = |grant: &Rule| {
        list(compiled, grant.servers)
            .is_some_and(|granted| granted.iter().any(|one| servers.iter().any(|other| other.covers(one))))
    };
    let grants = compiled.rules.iter().filter(|rule| rule.id.effect() == Effect::Grant);
    grants.filter(|grant| shares_server(grant)).find_map(|grant| {
        let agent = sets(compiled, grant).flat_map(|set| &set.foreign).find(|agent| !denied.contains(agent))?.clone();
        let warning = Warning::DenyMissesForeign { rule: deny.id, agent, grant: grant.id };
        Some(Finding::new(deny.place, warning))
    })
}

fn in_order(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| (finding.line, finding.column, finding.warning.to_string()));
    found.dedup();
    found
}

fn mapped_without_grant(compiled: &Compiled) -> impl Iterator<Item = Finding> {
    let grants = compiled.rules.iter().filter(|rule| rule.id.effect() == Effect::Grant);
    let granted: HashSet<u32> = grants.flat_map(|rule| rule.who.iter().copied()).collect();
    let is_granted = move |name: &str| {
        let mut found = false;
        compiled.index.look_up_sets(&Caller::Own(name), |set| found |= granted.contains(&set));
        found
    };
    let ungranted = compiled.mapped.iter().filter(move |(agent, _)| !is_granted(agent));
    ungranted.map(|(agent, place)| Finding::new(*place, Warning::MappedWithoutGrant { agent: agent.clone() }))
}

/// The first rule that leaves nothing for this one to decide.
///
/// Candidates come from the index, by one agent and one server of the rule: a file of 100,000 rules is looked at once.
fn unreachable(compiled: &Compiled, rule: &Rule) -> Option<Finding> {
    let server = list(compiled, rule.servers)?.iter().next()?.sample();
    let set = sets(compiled, rule).next()?;
    let name = set.names.iter().next().map(Pattern::sample);
    let caller = match (&name, set.foreign.first()) {
        (Some(name), _) => Caller::Own(name),
        (None, Some(agent)) => Caller::Foreign(agent),
        (None, None) => return None,
    };
    let mut by: Option<&Rule> = None;
    compiled.index.look_up(&caller, &server, |at| {
        let other = usize::try_from(at).ok().and_then(|at| compiled.rules.get(at));
        let first = |other: &&Rule| by.is_none_or(|by| other.id.line() < by.id.line());
        let decides = |other: &&Rule| comes_before(other, rule) && covers(compiled, other, rule);
        by = other.filter(first).filter(decides).or(by);
    });
    by.map(|by| {
        let (rule_id, by) = (rule.id, by.id);
        let warning = if rule_id.effect() == by.effect() {
            Warning::Unreachable { rule: rule_id, by }
        } else {
            Warning::DeniedWhole { rule: rule_id, by }
        };
        Finding::new(rule.place, warning)
    })
}

fn comes_before(other: &Rule, rule: &Rule) -> bool {
    match (other.id.effect(), rule.id.effect()) {
        (Effect::Deny, Effect::Grant) => true,
        (Effect::Grant, Effect::Deny) => false,
        _ => other.id.number() < rule.id.number(),
    }
}

/// Whether `other` speaks of every agent, every server and every name that `rule` speaks of.
fn covers(compiled: &Compiled, other: &Rule, rule: &Rule) -> bool {
    let names = || {
        Kind::ALL.iter().all(|&kind| match (other.names_of(kind), rule.names_of(kind)) {
            (_, None) => true,
            (Some(wider), Some(narrower)) => wider.covers(narrower),
            (None, Some(_)) => false,
        })
    };
    // A deny of some names does not cover a deny of everything, nor the protocol that any grant allows.
    let enough = match other.id.effect() {
        Effect::Deny => other.is_total_deny() || (!rule.is_total_deny() && names()),
        // One that asks for rights leaves those who have none to the other.
        Effect::Grant => other.rights.is_nothing() && names(),
    };
    let servers = || list(compiled, other.servers).zip(list(compiled, rule.servers)).is_some_and(|(a, b)| a.covers(b));
    enough && servers() && sets(compiled, rule).all(|set| sets(compiled, other).any(|wider| wider.covers(set)))
}

impl WhoSet {
    fn covers(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.names.covers(&other.names) && other.foreign.iter().all(|agent| self.foreign.contains(agent)))
    }
}

fn sets<'a>(compiled: &'a Compiled, rule: &'a Rule) -> impl Iterator<Item = &'a WhoSet> {
    rule.who.iter().filter_map(|&set| compiled.sets.get(usize::try_from(set).ok()?))
}

fn list(compiled: &Compiled, servers: u32) -> Option<&crate::patterns::Patterns> {
    compiled.servers.get(usize::try_from(servers).ok()?)
}

#[cfg(test)]
mod tests;
