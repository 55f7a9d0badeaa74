//! From a document to sets and an index.

use std::collections::HashMap;

use super::{Compiled, Group, Rule, WhoSet};
use crate::document::{self, Document, Members};
use crate::glob::Pattern;
use crate::index::{Index, Member};
use crate::{Effect, RuleId};

impl Compiled {
    /// Interns lists that recur, so that neither memory nor time multiplies agents by servers by rules.
    pub(super) fn new(document: Document) -> Self {
        let Document { trust_domain, map, mapped, revocation, groups, rules } = document;
        let mut sets = Interned::default();
        let groups: Vec<(Members, Option<Group>)> = groups.into_iter().map(split_group).collect();
        let group_count = groups.len();
        let mut lists = Interned::default();
        let compiled: Vec<Rule> = number(rules)
            .map(|(rule, number)| {
                let mut who: Vec<u32> = rule.groups.iter().map(|&at| to_u32(at)).collect();
                if rule.members != Members::default() {
                    who.push(to_u32(group_count).saturating_add(sets.intern(rule.members)));
                }
                Rule {
                    id: RuleId::new(rule.effect, number, rule.place.line),
                    place: rule.place,
                    who,
                    servers: lists.intern(rule.servers),
                    names: rule.names.map(|names| names.map(FromIterator::from_iter)),
                    rights: rule.rights,
                }
            })
            .collect();
        let who: Vec<_> = groups.into_iter().chain(sets.values.into_iter().map(|members| (members, None))).collect();
        let index = index(&who, &lists.values, &compiled);
        Self {
            trust_domain,
            map,
            mapped,
            revocation,
            sets: who.into_iter().map(who_set).collect(),
            servers: lists.values.into_iter().map(FromIterator::from_iter).collect(),
            rules: compiled,
            index,
        }
    }
}

fn index(who: &[(Members, Option<Group>)], servers: &[Vec<Pattern>], rules: &[Rule]) -> Index {
    let members = who.iter().enumerate().flat_map(|(set, (members, _))| {
        let own = members.own.iter().cloned().map(Member::Own);
        let foreign = members.foreign.iter().cloned().map(Member::Foreign);
        own.chain(foreign).map(move |member| (member, to_u32(set)))
    });
    let servers = servers
        .iter()
        .enumerate()
        .flat_map(|(set, list)| list.iter().cloned().map(move |pattern| (pattern, to_u32(set))));
    let rules = rules.iter().enumerate();
    let rules = rules.flat_map(|(at, rule)| rule.who.iter().map(move |&set| (set, rule.servers, to_u32(at))));
    Index::new(who.len(), members, servers).with_rules(rules)
}

/// Grants and denies are numbered apart, from 1.
fn number(rules: Vec<document::Rule>) -> impl Iterator<Item = (document::Rule, u32)> {
    let (mut grants, mut denies) = (0_u32, 0_u32);
    rules.into_iter().map(move |rule| {
        let count = match rule.effect {
            Effect::Grant => &mut grants,
            Effect::Deny => &mut denies,
        };
        *count = count.saturating_add(1);
        let number = *count;
        (rule, number)
    })
}

fn split_group(group: document::Group) -> (Members, Option<Group>) {
    let document::Group { name, place, members, used } = group;
    (members, Some(Group { name, place, used }))
}

fn who_set((members, group): (Members, Option<Group>)) -> WhoSet {
    WhoSet { group, names: members.own.into_iter().collect(), foreign: members.foreign }
}

/// Values by number, equal ones only once.
struct Interned<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn intern(&mut self, value: T) -> u32 {
        let next = to_u32(self.values.len());
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            next
        })
    }
}

/// A file cannot hold four thousand million of anything.
fn to_u32(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}
