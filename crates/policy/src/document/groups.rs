//! `[groups]`: names for several agents, which may name other groups, but not in a circle.

use std::collections::HashMap;
use std::ops::Range;

use countermark_identity::TrustDomain;
use toml::de::DeTable;

use super::names::{Who, keep, parse_who};
use super::reader::Reader;
use super::{Group, Members};
use crate::Fault;
use crate::text::nearest;

struct Draft<'a> {
    group: Group,
    nested: Vec<(&'a str, Range<usize>)>,
}

/// Reads the groups, each with the members of those that it names.
pub(super) fn parse(reader: &mut Reader<'_>, root: &DeTable<'_>, own: &TrustDomain) -> Vec<Group> {
    let Some(table) = root.get("groups").and_then(|value| reader.table("groups", value)) else {
        return Vec::new();
    };
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    let mut drafts = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        let name = key.get_ref();
        if name.is_empty() || !name.chars().all(is_group_character) {
            reader.fault(key.span(), Fault::GroupName { name: name.to_string() });
        }
        let group =
            Group { name: name.to_string(), place: reader.place(key.span()), members: Members::default(), used: false };
        let mut draft = Draft { group, nested: Vec::new() };
        for (text, span) in reader.strings(name, value) {
            keep(reader, span.clone(), parse_who(text, own), |who| match who {
                Who::Own(pattern) => draft.group.members.own.push(pattern),
                Who::Foreign(agent) => draft.group.members.foreign.push(agent),
                Who::Group(name) => draft.nested.push((name, span)),
            });
        }
        drafts.push(draft);
    }
    expand(reader, drafts)
}

/// The group of that name; notes a fault if there is none.
pub(super) fn find(reader: &mut Reader<'_>, groups: &[Group], name: &str, span: Range<usize>) -> Option<usize> {
    let found = groups.iter().position(|group| group.name == name);
    if found.is_none() {
        unknown(reader, groups.iter().map(|group| group.name.as_str()), name, span);
    }
    found
}

/// Adds the members of nested groups. Groups are finished once all that they name are; what remains goes in circles.
fn expand(reader: &mut Reader<'_>, drafts: Vec<Draft<'_>>) -> Vec<Group> {
    let names: HashMap<String, usize> =
        drafts.iter().enumerate().map(|(at, draft)| (draft.group.name.clone(), at)).collect();
    let mut nested = Vec::with_capacity(drafts.len());
    let mut groups = Vec::with_capacity(drafts.len());
    for Draft { group, nested: named } in drafts {
        let mut known = Vec::new();
        for (name, span) in named {
            match names.get(name) {
                Some(&at) => known.push(at),
                None => unknown(reader, names.keys().map(String::as_str), name, span),
            }
        }
        nested.push(known);
        groups.push(group);
    }
    let mut finished = vec![false; groups.len()];
    let is_finished = |finished: &[bool], at: usize| finished.get(at).copied().unwrap_or(true);
    loop {
        let ready = |(at, named): &(usize, &Vec<usize>)| {
            !is_finished(&finished, *at) && named.iter().all(|&inner| is_finished(&finished, inner))
        };
        let Some((at, named)) = nested.iter().enumerate().find(ready) else { break };
        adopt(&mut groups, at, named);
        if let Some(done) = finished.get_mut(at) {
            *done = true;
        }
    }
    for (group, _) in groups.iter().zip(&finished).filter(|(_, done)| !**done) {
        reader.fault_at(group.place, Fault::GroupCycle { group: group.name.clone() });
    }
    groups
}

fn adopt(groups: &mut [Group], at: usize, named: &[usize]) {
    for &inner in named {
        let Some(members) = groups.get(inner).map(|group| group.members.clone()) else { continue };
        if let Some(group) = groups.get_mut(at) {
            group.members.extend_from(&members);
        }
        if let Some(group) = groups.get_mut(inner) {
            group.used = true;
        }
    }
}

fn unknown<'g>(reader: &mut Reader<'_>, names: impl Iterator<Item = &'g str>, name: &str, span: Range<usize>) {
    let nearest = nearest(name, names).map(String::from);
    reader.fault(span, Fault::UnknownGroup { group: name.into(), nearest });
}

const fn is_group_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}
