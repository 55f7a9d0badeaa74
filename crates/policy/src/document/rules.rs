//! `[[grant]]` and `[[deny]]`.

use std::ops::Range;

use countermark_identity::TrustDomain;
use toml::de::DeTable;

use super::names::{Who, keep, parse_servers, parse_subjects, parse_who};
use super::reader::{Reader, Text};
use super::{Group, Members, Rule, groups};
use crate::rights::Demanded;
use crate::{Effect, Fault, Kind};

/// What the names in a rule may refer to.
pub(super) struct Scope<'a> {
    pub(super) own: &'a TrustDomain,
    pub(super) groups: &'a mut [Group],
}

/// Reads all rules of one effect, in the order of the file.
pub(super) fn parse(reader: &mut Reader<'_>, root: &DeTable<'_>, effect: Effect, scope: &mut Scope<'_>) -> Vec<Rule> {
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
            Some(table) => rules.push(parse_rule(reader, &RuleTable { table, span: element.span(), effect }, scope)),
            None => reader.wrong_type(effect.as_str(), element, "a list of tables"),
        }
    }
    rules
}

/// One rule's table, and where it begins.
struct RuleTable<'a, 'i> {
    table: &'a DeTable<'i>,
    span: Range<usize>,
    effect: Effect,
}

impl<'a, 'i> RuleTable<'a, 'i> {
    const fn name(&self) -> &'static str {
        match self.effect {
            Effect::Grant => "a grant",
            Effect::Deny => "a deny",
        }
    }

    /// The texts of a list that must be there.
    fn required(&self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Text<'a>> {
        match self.table.get(key) {
            Some(value) => reader.strings(key, value),
            None => {
                reader.fault(self.span.clone(), Fault::Missing { key, place: self.name() });
                Vec::new()
            }
        }
    }
}

fn parse_rule(reader: &mut Reader<'_>, rule: &RuleTable<'_, '_>, scope: &mut Scope<'_>) -> Rule {
    reader.reject_unknown(rule.table, RULE_KEYS, rule.name());
    refuse_conditions(reader, rule.table);
    let rights = parse_rights(reader, rule);
    let who = rule.required(reader, "who");
    let (members, groups) = parse_members(reader, who, scope);
    let servers = rule.required(reader, "servers");
    let servers = parse_servers(reader, servers, scope.own);
    let names = Kind::ALL.map(|kind| {
        let texts = reader.strings(kind.key(), rule.table.get(kind.key())?);
        Some(parse_subjects(reader, texts, kind, rule.effect))
    });
    if rule.effect == Effect::Grant && names.iter().all(Option::is_none) {
        reader.fault(rule.span.clone(), Fault::NoKinds);
    }
    Rule { effect: rule.effect, place: reader.place(rule.span.clone()), members, groups, servers, names, rights }
}

fn parse_members(reader: &mut Reader<'_>, who: Vec<Text<'_>>, scope: &mut Scope<'_>) -> (Members, Vec<usize>) {
    let (mut members, mut named) = (Members::default(), Vec::new());
    for (text, span) in who {
        let mut group = None;
        keep(reader, span.clone(), parse_who(text, scope.own), |who| match who {
            Who::Own(pattern) => members.own.push(pattern),
            Who::Foreign(agent) => members.foreign.push(agent),
            Who::Group(name) => group = Some(name),
        });
        let Some(at) = group.and_then(|name| groups::find(reader, scope.groups, name, span)) else { continue };
        named.push(at);
        if let Some(group) = scope.groups.get_mut(at) {
            group.used = true;
        }
    }
    (members, named)
}

/// Conditions that nobody enforces yet are refused, never ignored: a grant would be wider than it reads.
fn refuse_conditions(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    let Some((key, value)) = table.get_key_value("when") else { return };
    if reader.string("when", value).is_some() {
        reader.fault(key.span(), Fault::NotEnforced { key: "when" });
    }
}

/// What a token must hold for the grant to apply; a deny applies to everybody whom it names.
fn parse_rights(reader: &mut Reader<'_>, rule: &RuleTable<'_, '_>) -> Demanded {
    let mut read = |key: &'static str| {
        let Some((name, value)) = rule.table.get_key_value(key) else { return Vec::new() };
        if rule.effect == Effect::Deny {
            reader.fault(name.span(), Fault::RightsOfDeny { key });
            return Vec::new();
        }
        let texts = reader.strings(key, value);
        let mut rights = Vec::with_capacity(texts.len());
        for (text, span) in texts {
            // RFC 6749 §3.3; what cannot stand in a token would never match.
            let fits = key == "roles" || text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            match fits {
                true => rights.push(text.into()),
                false => reader.fault(span, Fault::NotScope { text: text.into() }),
            }
        }
        rights.sort_unstable();
        rights.dedup();
        rights
    };
    Demanded { scopes: read("scopes"), roles: read("roles") }
}

const RULE_KEYS: &[&str] = &["who", "servers", "tools", "prompts", "resources", "methods", "scopes", "roles", "when"];
