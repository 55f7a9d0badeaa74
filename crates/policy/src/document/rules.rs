//! `[[grant]]` and `[[deny]]`.

use countermark_identity::TrustDomain;
use toml::de::DeTable;

use super::names::{Who, keep, parse_servers, parse_subjects, parse_who};
use super::reader::{Reader, Value};
use super::{Group, Members, Rule, groups};
use crate::{Effect, Fault, Kind};

/// Reads all rules of one effect, in the order of the file.
pub(super) fn parse(
    reader: &mut Reader<'_>,
    root: &DeTable<'_>,
    effect: Effect,
    own: &TrustDomain,
    groups: &mut [Group],
) -> Vec<Rule> {
    let Some(value) = root.get(effect.as_str()) else {
        return Vec::new();
    };
    let Some(list) = value.get_ref().as_array() else {
        reader.wrong_type(effect.as_str(), value, "a list of tables");
        return Vec::new();
    };
    let mut rules = Vec::with_capacity(list.len());
    for element in list.iter() {
        match element.get_ref().as_table() {
            Some(table) => rules.push(parse_rule(reader, element, table, effect, own, groups)),
            None => reader.wrong_type(effect.as_str(), element, "a list of tables"),
        }
    }
    rules
}

fn parse_rule(
    reader: &mut Reader<'_>,
    element: &Value<'_>,
    table: &DeTable<'_>,
    effect: Effect,
    own: &TrustDomain,
    groups: &mut [Group],
) -> Rule {
    let place_name = match effect {
        Effect::Grant => "a grant",
        Effect::Deny => "a deny",
    };
    reader.reject_unknown(table, RULE_KEYS, place_name);
    refuse_conditions(reader, table);
    let (members, groups) = parse_members(reader, element, table, (own, groups), place_name);
    let servers = match required(reader, element, table, "servers", place_name) {
        Some(value) => {
            let texts = reader.strings("servers", value);
            parse_servers(reader, texts, own)
        }
        None => Vec::new(),
    };
    let names = Kind::ALL.map(|kind| {
        let texts = reader.strings(kind.key(), table.get(kind.key())?);
        Some(parse_subjects(reader, texts, kind))
    });
    if effect == Effect::Grant && names.iter().all(Option::is_none) {
        reader.fault(element.span(), Fault::NoKinds);
    }
    Rule { effect, place: reader.place(element.span()), members, groups, servers, names }
}

fn parse_members(
    reader: &mut Reader<'_>,
    element: &Value<'_>,
    table: &DeTable<'_>,
    (own, groups): (&TrustDomain, &mut [Group]),
    place: &'static str,
) -> (Members, Vec<usize>) {
    let (mut members, mut named) = (Members::default(), Vec::new());
    let Some(value) = required(reader, element, table, "who", place) else {
        return (members, named);
    };
    for (text, span) in reader.strings("who", value) {
        let mut group = None;
        keep(reader, span.clone(), parse_who(text, own), |who| match who {
            Who::Own(pattern) => members.push(pattern),
            Who::Foreign(agent) => members.foreign.push(agent),
            Who::Group(name) => group = Some(name),
        });
        let Some(at) = group.and_then(|name| groups::find(reader, groups, name, span)) else { continue };
        named.push(at);
        if let Some(group) = groups.get_mut(at) {
            group.used = true;
        }
    }
    (members, named)
}

fn required<'a, 'i>(
    reader: &mut Reader<'_>,
    element: &Value<'_>,
    table: &'a DeTable<'i>,
    key: &'static str,
    place: &'static str,
) -> Option<&'a Value<'i>> {
    let value = table.get(key);
    if value.is_none() {
        reader.fault(element.span(), Fault::Missing { key, place });
    }
    value
}

/// Conditions that nobody enforces yet are refused, never ignored: a grant would be wider than it reads.
fn refuse_conditions(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    for (key, value) in table.iter() {
        let (word, right_type) = match key.get_ref().as_ref() {
            "when" => ("when", reader.string("when", value).is_some()),
            "scopes" => ("scopes", !reader.strings("scopes", value).is_empty()),
            "roles" => ("roles", !reader.strings("roles", value).is_empty()),
            _ => continue,
        };
        if right_type {
            reader.fault(key.span(), Fault::NotEnforced { key: word });
        }
    }
}

const RULE_KEYS: &[&str] = &["who", "servers", "tools", "prompts", "resources", "methods", "scopes", "roles", "when"];
