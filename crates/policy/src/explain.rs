//! What decides a call, and why: for `policy can` and for people.

use countermark_identity::{AgentId, ServerId};
use serde::Serialize;

use crate::glob::Pattern;
use crate::index::Caller;
use crate::policy::{Compiled, Rule};
use crate::resource::plain;
use crate::{Action, Denied, Policy, Rights, RuleId};

/// The decision on one call to one server, with what in the file decides it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The server's name; a glob where the file names servers by one.
    pub server: String,
    /// Whether the call is permitted.
    pub permitted: bool,
    /// Why not, if not.
    #[serde(serialize_with = "denied_text", skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied>,
    /// The rule that decides, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// What in that rule applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
}

/// The parts of a rule that apply to a call, as written in the file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Because {
    /// The element of `who`.
    pub who: String,
    /// The group through which it applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The element of `servers`.
    pub servers: String,
    /// The element of `tools`, `prompts`, `resources` or `methods`; none for the protocol, or where everything is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Policy {
    /// The decision on one call, exactly as [`Policy::authorize_with`] takes it, with what decides it.
    #[must_use]
    pub fn explain(&self, caller: &AgentId, server: &ServerId, action: Action<'_>, rights: Rights<'_>) -> Explanation {
        let decision = self.authorize_with(caller, server, action, rights).map(|permit| permit.rule());
        self.explanation(caller, server.name(), action, decision)
    }

    /// The decision for each server that the file names, in alphabetical order.
    ///
    /// A glob over servers stands for those that the file does not name otherwise.
    #[must_use]
    pub fn explain_all(&self, caller: &AgentId, action: Action<'_>, rights: Rights<'_>) -> Vec<Explanation> {
        let mut patterns: Vec<&Pattern> = self.compiled.servers.iter().flat_map(|list| list.iter()).collect();
        patterns.sort_unstable_by_key(|pattern| (matches!(pattern, Pattern::Glob(_)), *pattern));
        patterns.dedup();
        let names = patterns.into_iter().map(ToString::to_string);
        names
            .map(|name| {
                let decision =
                    Self::require_decidable(caller, action).and_then(|()| self.decide(caller, &name, action, rights));
                self.explanation(caller, &name, action, decision)
            })
            .collect()
    }

    fn explanation(
        &self,
        caller: &AgentId,
        server: &str,
        action: Action<'_>,
        decision: Result<RuleId, Denied>,
    ) -> Explanation {
        let rule = decision.map_or_else(Denied::rule, Some);
        let because = rule
            .and_then(|id| self.compiled.rules.iter().find(|rule| rule.id == id))
            .and_then(|rule| because(&self.compiled, rule, &self.as_caller(caller), server, action));
        Explanation { server: server.into(), permitted: decision.is_ok(), denied: decision.err(), rule, because }
    }
}

fn because(compiled: &Compiled, rule: &Rule, caller: &Caller<'_>, server: &str, action: Action<'_>) -> Option<Because> {
    let set_of = |set: &u32| compiled.sets.get(usize::try_from(*set).ok()?);
    let (who, group) = rule.who.iter().filter_map(set_of).find_map(|set| {
        let who = match caller {
            Caller::Own(name) => set.names.first_match(name)?.to_string(),
            Caller::Foreign(agent) => set.foreign.iter().find(|foreign| foreign == agent)?.spiffe_id().to_string(),
        };
        Some((who, set.group.as_ref().map(|group| group.name.clone())))
    })?;
    let servers = compiled.servers.get(usize::try_from(rule.servers).ok()?)?.first_match(server)?.to_string();
    let name = action.subject().and_then(|(kind, name)| {
        let names = rule.names_of(kind)?;
        let spelled = || plain(name).and_then(|plain| names.first_match(&plain));
        names.first_match(name).or_else(spelled).map(Pattern::to_string)
    });
    Some(Because { who, group, servers, name })
}

fn denied_text<S: serde::Serializer>(denied: &Option<Denied>, serializer: S) -> Result<S::Ok, S::Error> {
    match denied {
        Some(denied) => serializer.collect_str(denied),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
