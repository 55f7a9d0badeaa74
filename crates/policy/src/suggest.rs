//! The least policy that permits what was seen.

use std::collections::{BTreeMap, BTreeSet};

use countermark_identity::{AgentId, ServerId, TrustDomain};

use crate::Kind;
use crate::document::DECIDED_BY_NAME;
use crate::glob;
use crate::resource::require_safe;

/// One call of an audit.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "plain input that callers build")]
pub struct Observed {
    /// Who called.
    pub agent: AgentId,
    /// Which server.
    pub server: ServerId,
    /// What was asked for; `None` for the protocol itself.
    pub subject: Option<(Kind, String)>,
}

/// What one agent did on one server.
type Seen = BTreeMap<Kind, BTreeSet<String>>;

/// Writes a policy file that permits exactly these calls, and the protocol that goes with them.
///
/// Names are escaped: a star in a tool's name stays a star, a quotation mark does not end the text. What no policy can
/// permit (a sub-agent, an unsafe resource URI, a server of another trust domain) is named in a comment.
#[must_use]
pub fn suggest(trust_domain: &TrustDomain, observed: impl IntoIterator<Item = Observed>) -> String {
    let mut by_pair: BTreeMap<(AgentId, ServerId), Seen> = BTreeMap::new();
    let mut impossible = BTreeSet::new();
    for Observed { agent, server, subject } in observed {
        if let Some(why) = refusal(trust_domain, &agent, &server, subject.as_ref()) {
            impossible.insert(describe(&agent, &server, subject.as_ref(), why));
            continue;
        }
        let seen = by_pair.entry((agent, server)).or_default();
        if let Some((kind, name)) = subject {
            seen.entry(kind).or_default().insert(name);
        }
    }
    let mut text = format!("version = 1\ntrust_domain = {}\n", quote(trust_domain.as_str()));
    for line in impossible {
        write_line(&mut text, &format!("# {line}"));
    }
    for (servers, seen, agents) in merge(by_pair) {
        write_grant(&mut text, trust_domain, &agents, &servers, &seen);
    }
    text
}

/// Agents that did the same on a server share a grant.
fn merge(by_pair: BTreeMap<(AgentId, ServerId), Seen>) -> Vec<(ServerId, Seen, Vec<AgentId>)> {
    let mut grants: BTreeMap<(ServerId, Seen), Vec<AgentId>> = BTreeMap::new();
    for ((agent, server), seen) in by_pair {
        grants.entry((server, seen)).or_default().push(agent);
    }
    grants.into_iter().map(|((server, seen), agents)| (server, seen, agents)).collect()
}

fn write_grant(text: &mut String, own: &TrustDomain, agents: &[AgentId], server: &ServerId, seen: &Seen) {
    let who = agents.iter().map(|agent| match agent.trust_domain() == own {
        true => agent.name().to_owned(),
        false => agent.spiffe_id().to_string(),
    });
    write_line(text, "\n[[grant]]");
    write_line(text, &format!("who = {}", quote_list(who)));
    write_line(text, &format!("servers = {}", quote_list([server.name().to_owned()])));
    if seen.is_empty() {
        // A grant must list something; ping is part of the protocol, which this grant permits, and nothing else is.
        write_line(text, "methods = [\"ping\"] # seen speaking the protocol only");
    }
    for (kind, names) in seen {
        let patterns = names.iter().map(|name| glob::escape(name));
        write_line(text, &format!("{} = {}", kind.key(), quote_list(patterns)));
    }
}

fn refusal(
    own: &TrustDomain,
    agent: &AgentId,
    server: &ServerId,
    subject: Option<&(Kind, String)>,
) -> Option<&'static str> {
    match subject {
        _ if agent.is_sub_agent() => Some("sub-agents are granted nothing"),
        _ if server.trust_domain() != own => Some("the server is of another trust domain"),
        Some((_, name)) if name.is_empty() => Some("it has no name"),
        Some((Kind::Method, name)) if DECIDED_BY_NAME.iter().any(|(method, _)| method == name) => {
            Some("it is decided by what it names")
        }
        Some((Kind::Resource, uri)) if require_safe(uri).is_err() => Some("its URI is refused before any rule"),
        _ => None,
    }
}

fn describe(agent: &AgentId, server: &ServerId, subject: Option<&(Kind, String)>, why: &str) -> String {
    let what = subject.map_or_else(|| String::from("the protocol"), |(kind, name)| format!("{kind} {}", quote(name)));
    format!("no rule can permit {what} to {} on {}: {why}", agent.spiffe_id(), server.spiffe_id())
}

fn quote_list(texts: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quote(&text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A basic string of TOML: quotation marks, backslashes and everything that is not plainly printable are escaped.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            // Everything else as a code point: no control character, no invisible letter, no change of direction.
            _ => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests;
