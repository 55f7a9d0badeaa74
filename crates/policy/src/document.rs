//! A policy file as written: every name parsed, every fault found, nothing compiled.

mod groups;
mod map;
mod names;
mod reader;
mod rules;

use std::collections::BTreeMap;

use countermark_identity::{AgentId, SanMap, TrustDomain};
use toml::de::DeTable;

pub(crate) use self::names::DECIDED_BY_NAME;
use self::reader::Reader;
use crate::glob::Pattern;
use crate::rights::Demanded;
use crate::text::{Lines, Place};
use crate::{Effect, Fault, PolicyError, PolicyErrors, RevocationMode};

/// A policy file that has no fault.
pub(crate) struct Document {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) map: SanMap,
    /// The agents that the map names, each with where its entry stands.
    pub(crate) mapped: Vec<(String, Place)>,
    pub(crate) revocation: BTreeMap<TrustDomain, RevocationMode>,
    pub(crate) groups: Vec<Group>,
    pub(crate) rules: Vec<Rule>,
}

/// One line of `[groups]`, with the members of the groups that it names.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) members: Members,
    pub(crate) used: bool,
}

/// Agents: by name or glob in the own trust domain, by SPIFFE ID in any other.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub(crate) struct Members {
    pub(crate) own: Vec<Pattern>,
    pub(crate) foreign: Vec<AgentId>,
}

/// One `[[grant]]` or `[[deny]]`.
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    pub(crate) place: Place,
    pub(crate) members: Members,
    /// Indices of [`Document::groups`].
    pub(crate) groups: Vec<usize>,
    pub(crate) servers: Vec<Pattern>,
    /// By kind, in the order of [`crate::Kind::ALL`].
    pub(crate) names: [Option<Vec<Pattern>>; 4],
    pub(crate) rights: Demanded,
}

impl Document {
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyErrors> {
        let lines = Lines::new(text);
        let (root, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(PolicyErrors::new(syntax.iter().map(|error| syntax_error(&lines, error)).collect()));
        }
        let mut reader = Reader::new(lines);
        let document = parse_root(&mut reader, root.get_ref());
        match (document, reader.into_errors()) {
            (Some(document), errors) if errors.is_empty() => Ok(document),
            (_, errors) => Err(PolicyErrors::new(errors)),
        }
    }

    pub(crate) fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            map: SanMap::empty(trust_domain.clone()),
            mapped: Vec::new(),
            trust_domain,
            revocation: BTreeMap::new(),
            groups: Vec::new(),
            rules: Vec::new(),
        }
    }
}

fn parse_root(reader: &mut Reader<'_>, root: &DeTable<'_>) -> Option<Document> {
    reader.reject_unknown(root, ROOT_KEYS, "the policy file");
    require_version(reader, root);
    let trust_domain = parse_trust_domain(reader, root)?;
    let (map, mapped) = map::parse_map(reader, root, &trust_domain);
    let revocation = map::parse_revocation(reader, root);
    let mut groups = groups::parse(reader, root, &trust_domain);
    let mut scope = rules::Scope { own: &trust_domain, groups: &mut groups };
    let mut rules = rules::parse(reader, root, Effect::Grant, &mut scope);
    rules.extend(rules::parse(reader, root, Effect::Deny, &mut scope));
    Some(Document { trust_domain, map, mapped, revocation, groups, rules })
}

fn require_version(reader: &mut Reader<'_>, root: &DeTable<'_>) {
    let Some(value) = root.get("version") else {
        return reader
            .fault_at(Place { line: 1, column: 1 }, Fault::Missing { key: "version", place: "the policy file" });
    };
    match value.get_ref().as_integer() {
        Some(number) if number.as_str() == "1" => {}
        Some(number) => reader.fault(value.span(), Fault::Version { found: number.as_str().into() }),
        None => reader.wrong_type("version", value, "an integer"),
    }
}

fn parse_trust_domain(reader: &mut Reader<'_>, root: &DeTable<'_>) -> Option<TrustDomain> {
    let Some(value) = root.get("trust_domain") else {
        let fault = Fault::Missing { key: "trust_domain", place: "the policy file" };
        reader.fault_at(Place { line: 1, column: 1 }, fault);
        return None;
    };
    let text = reader.string("trust_domain", value)?;
    reader.trust_domain(value.span(), text)
}

fn syntax_error(lines: &Lines<'_>, error: &toml::de::Error) -> PolicyError {
    let place = lines.place(&error.span().unwrap_or_default());
    PolicyError::new(place, Fault::Syntax { message: error.message().into() })
}

const ROOT_KEYS: &[&str] = &["version", "trust_domain", "map", "groups", "grant", "deny", "revocation"];

#[cfg(test)]
mod tests;
