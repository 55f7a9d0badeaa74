//! The names in a rule: agents, servers, and what is called.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;

use countermark_identity::{AgentId, Role, ServerId, SpiffeId, SpiffeIdError, TrustDomain};

use super::Members;
use super::reader::{Reader, Text};
use crate::error::NeverMatches;
use crate::glob::Pattern;
use crate::resource::require_safe;
use crate::{Effect, Fault, Kind};

/// One element of `who` or of a group.
pub(super) enum Who<'a> {
    Own(Pattern),
    Foreign(AgentId),
    Group(&'a str),
}

impl Members {
    /// Takes each member once: groups that name each other twice would double at each level.
    pub(super) fn extend_from(&mut self, other: &Self) {
        extend_new(&mut self.own, &other.own);
        extend_new(&mut self.foreign, &other.foreign);
    }
}

fn extend_new<T: Clone + Eq + Hash>(list: &mut Vec<T>, more: &[T]) {
    let known: HashSet<T> = list.iter().cloned().collect();
    list.extend(more.iter().filter(|member| !known.contains(*member)).cloned());
}

/// An agent's name, a glob over names, a full SPIFFE ID, or a `@group`.
pub(super) fn parse_who<'a>(text: &'a str, own: &TrustDomain) -> Result<Who<'a>, Fault> {
    if let Some(group) = text.strip_prefix('@') {
        return Ok(Who::Group(group));
    }
    if text.starts_with("spiffe:") {
        return parse_agent_id(text, own);
    }
    if ["dns:", "email:", "ip:", "uri:"].iter().any(|kind| text.starts_with(kind)) {
        return Err(Fault::SanInWho { text: text.into() });
    }
    if text.contains('/') {
        return Err(Fault::SubAgent { text: text.into() });
    }
    let cause = |cause| Fault::Agent { text: text.into(), cause };
    parse_name(text, |name| AgentId::new(own, name).map(drop).map_err(cause)).map(Who::Own)
}

fn parse_agent_id(text: &str, own: &TrustDomain) -> Result<Who<'static>, Fault> {
    if text.contains('*') {
        return Err(Fault::ForeignGlob { text: text.into() });
    }
    let id = parse_spiffe_id(text)?;
    let agent = AgentId::try_from(id).map_err(|_| Fault::NotAnAgent { text: text.into() })?;
    if agent.is_sub_agent() {
        return Err(Fault::SubAgent { text: text.into() });
    }
    let is_own = agent.trust_domain() == own;
    Ok(if is_own { Who::Own(Pattern::Exact(agent.name().into())) } else { Who::Foreign(agent) })
}

/// The elements of `servers`.
pub(super) fn parse_servers(reader: &mut Reader<'_>, texts: Vec<Text<'_>>, own: &TrustDomain) -> Vec<Pattern> {
    collect(reader, texts, |text| {
        if text.starts_with("spiffe:") {
            return match parse_spiffe_id(text)? {
                id if id.trust_domain() == own && matches!(id.role(), Some((Role::Server, _))) => {
                    Ok(Pattern::Exact(id.role().map_or("", |(_, name)| name).into()))
                }
                _ => Err(Fault::ForeignServer { text: text.into() }),
            };
        }
        let cause = |cause| Fault::Server { text: text.into(), cause };
        parse_name(text, |name| ServerId::new(own, name).map(drop).map_err(cause))
    })
}

/// The elements of `tools`, `prompts`, `resources` or `methods`.
pub(super) fn parse_subjects(
    reader: &mut Reader<'_>,
    texts: Vec<Text<'_>>,
    kind: Kind,
    effect: Effect,
) -> Vec<Pattern> {
    collect(reader, texts, |text| {
        let pattern = parse_pattern(text)?;
        match kind {
            Kind::Resource => {
                let never = |cause| Fault::NeverMatches { text: text.into(), cause: NeverMatches::Unsafe(cause) };
                require_safe(&pattern.sample()).map_err(never)?;
            }
            Kind::Method => require_decided_by_method(&pattern, effect)?,
            Kind::Tool | Kind::Prompt => {}
        }
        Ok(pattern)
    })
}

/// A deny of `tools/call` would read as if it took all tools away, and take nothing.
fn require_decided_by_method(pattern: &Pattern, effect: Effect) -> Result<(), Fault> {
    let fault = |key| Err(Fault::NotByMethod { method: pattern.to_string(), key });
    if pattern.begins_or_ends_literally()
        && let Some((_, kind)) = DECIDED_BY_NAME.iter().find(|(method, _)| pattern.matches(method))
    {
        return fault(Some(kind.key()));
    }
    match pattern {
        Pattern::Exact(method) if effect == Effect::Deny && PROTOCOL.contains(&&**method) => fault(None),
        _ => Ok(()),
    }
}

/// Methods that name a tool, prompt or resource, and are decided by that name.
pub(crate) const DECIDED_BY_NAME: [(&str, Kind); 5] = [
    ("tools/call", Kind::Tool),
    ("prompts/get", Kind::Prompt),
    ("resources/read", Kind::Resource),
    ("resources/subscribe", Kind::Resource),
    ("resources/unsubscribe", Kind::Resource),
];

/// Methods that any grant on the server allows.
const PROTOCOL: [&str; 9] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "tasks/list",
    "logging/setLevel",
];

fn collect<'a>(
    reader: &mut Reader<'_>,
    texts: Vec<Text<'a>>,
    parse: impl Fn(&'a str) -> Result<Pattern, Fault>,
) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (text, span) in texts {
        keep(reader, span, parse(text), |pattern| patterns.push(pattern));
    }
    patterns
}

/// Notes the fault, or takes the value.
pub(super) fn keep<T>(reader: &mut Reader<'_>, span: Range<usize>, parsed: Result<T, Fault>, take: impl FnOnce(T)) {
    match parsed {
        Ok(value) => take(value),
        Err(fault) => reader.fault(span, fault),
    }
}

/// A name of one path segment, or a glob over such names.
fn parse_name(text: &str, require: impl Fn(&str) -> Result<(), Fault>) -> Result<Pattern, Fault> {
    let pattern = parse_pattern(text)?;
    match &pattern {
        Pattern::Exact(name) => require(name)?,
        Pattern::Glob(_) => {
            let sample = pattern.sample();
            let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            if let Some(found) = sample.chars().find(odd) {
                return Err(Fault::NeverMatches { text: text.into(), cause: NeverMatches::Character { found } });
            }
        }
    }
    Ok(pattern)
}

fn parse_pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text).map_err(|_| Fault::StrayBackslash { text: text.into() })
}

fn parse_spiffe_id(text: &str) -> Result<SpiffeId, Fault> {
    text.parse().map_err(|cause: SpiffeIdError| Fault::SpiffeId { text: text.into(), cause })
}
