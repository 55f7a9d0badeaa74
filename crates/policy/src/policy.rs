//! A compiled policy.

mod compile;

use std::collections::BTreeMap;
use std::sync::Arc;

use countermark_identity::{AgentId, SanMap, ServerId, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::index::{Caller, Index};
use crate::patterns::Patterns;
use crate::resource::{plain, require_safe};
use crate::rights::{Demanded, Missing, Rights};
use crate::text::Place;
use crate::{Action, Denied, Effect, Finding, Permit, PolicyErrors, RuleId};

/// A policy: who may call what on which server. Cheap to share, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) compiled: Arc<Compiled>,
}

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) map: SanMap,
    pub(crate) mapped: Vec<(String, Place)>,
    pub(crate) revocation: BTreeMap<TrustDomain, RevocationMode>,
    pub(crate) sets: Vec<WhoSet>,
    pub(crate) servers: Vec<Patterns>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: Index,
}

/// The agents that stand together: those that a rule lists itself, or those of one group.
#[derive(Debug)]
pub(crate) struct WhoSet {
    pub(crate) group: Option<Group>,
    pub(crate) names: Patterns,
    pub(crate) foreign: Vec<AgentId>,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) used: bool,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    pub(crate) place: Place,
    pub(crate) who: Vec<u32>,
    pub(crate) servers: u32,
    /// By kind, in the order of [`crate::Kind::ALL`].
    pub(crate) names: [Option<Patterns>; 4],
    pub(crate) rights: Demanded,
}

/// How the revocation of one trust domain's certificates is looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a new mode must break every match that decides")]
pub enum RevocationMode {
    /// Without a fresh revocation list nobody of that trust domain is let in.
    #[default]
    Required,
    /// Revocation is not looked at.
    DangerNone,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyErrors`]: everything that is wrong with it, each with line, column and remedy.
    pub fn parse(text: &str) -> Result<Self, PolicyErrors> {
        Document::parse(text).map(|document| Self { compiled: Arc::new(Compiled::new(document)) })
    }

    /// The policy that permits nothing.
    #[must_use]
    pub fn nobody(trust_domain: TrustDomain) -> Self {
        Self { compiled: Arc::new(Compiled::new(Document::empty(trust_domain))) }
    }

    /// The trust domain whose agents and servers go by their bare names.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.compiled.trust_domain
    }

    /// Which names that are not ours stand for which agents.
    #[must_use]
    pub fn map(&self) -> &SanMap {
        &self.compiled.map
    }

    /// The revocation modes that the file names; every other trust domain has [`RevocationMode::Required`].
    #[must_use]
    pub fn revocation(&self) -> &BTreeMap<TrustDomain, RevocationMode> {
        &self.compiled.revocation
    }

    /// The revocation mode of one trust domain.
    #[must_use]
    pub fn revocation_of(&self, trust_domain: &TrustDomain) -> RevocationMode {
        self.compiled.revocation.get(trust_domain).copied().unwrap_or_default()
    }

    /// Whether any rule speaks of this server.
    #[must_use]
    pub fn names_server(&self, server: &ServerId) -> bool {
        server.trust_domain() == self.trust_domain() && self.compiled.index.names_server(server.name())
    }

    /// Whether the agent may do anything on the server: whether it may speak the protocol there.
    #[must_use]
    pub fn could(&self, caller: &AgentId, server: &ServerId) -> bool {
        self.authorize(caller, server, Action::Protocol).is_ok()
    }

    /// Decides one call of somebody who shows no token. A deny wins over any grant; what no grant lists is denied, and so is
    /// what only grants with `scopes` or `roles` list.
    ///
    /// # Errors
    /// [`Denied`], with the rule that decided if one did.
    pub fn authorize(&self, caller: &AgentId, server: &ServerId, action: Action<'_>) -> Result<Permit, Denied> {
        self.authorize_with(caller, server, action, Rights::NONE)
    }

    /// Decides one call of somebody whose token holds `rights`. A grant with `scopes` needs all of them, one with `roles` any
    /// of them; the protocol itself ([`Action::Protocol`]) needs a grant on the server and no rights, since a caller must be
    /// able to learn what it lacks.
    ///
    /// # Errors
    /// [`Denied`], with the rule that decided if one did.
    pub fn authorize_with(
        &self,
        caller: &AgentId,
        server: &ServerId,
        action: Action<'_>,
        rights: Rights<'_>,
    ) -> Result<Permit, Denied> {
        Self::require_decidable(caller, action)?;
        if server.trust_domain() != self.trust_domain() {
            return Err(Denied::NoGrantOnServer);
        }
        self.decide(caller, server.name(), action, rights).map(|rule| Permit::new(caller.clone(), rule))
    }

    /// The scopes that a rule demands, sorted.
    #[must_use]
    pub fn scopes_of(&self, rule: RuleId) -> &[Box<str>] {
        let found = self.compiled.rules.iter().find(|known| known.id == rule);
        found.map_or(&[], |rule| &rule.rights.scopes)
    }

    /// Every scope that a grant on this server demands, sorted.
    #[must_use]
    pub fn scopes_on(&self, server: &ServerId) -> Vec<&str> {
        let mut scopes: Vec<&str> =
            self.rules_on(server).flat_map(|rule| &rule.rights.scopes).map(AsRef::as_ref).collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    /// The first grant on this server that demands scopes or roles: without tokens it permits nothing.
    #[must_use]
    pub fn demands_token(&self, server: &ServerId) -> Option<RuleId> {
        self.rules_on(server).find(|rule| !rule.rights.is_nothing()).map(|rule| rule.id)
    }

    fn rules_on(&self, server: &ServerId) -> impl Iterator<Item = &Rule> {
        let own = server.trust_domain() == self.trust_domain();
        let names = move |rule: &&Rule| {
            let servers = usize::try_from(rule.servers).ok().and_then(|at| self.compiled.servers.get(at));
            own && servers.is_some_and(|servers| servers.matches(server.name()))
        };
        self.compiled.rules.iter().filter(names)
    }

    /// What is refused whatever the server and the rules.
    pub(crate) fn require_decidable(caller: &AgentId, action: Action<'_>) -> Result<(), Denied> {
        if caller.is_sub_agent() {
            return Err(Denied::SubAgent);
        }
        match action {
            Action::Resource(uri) => require_safe(uri).map_err(Denied::UnsafeResource),
            _ => Ok(()),
        }
    }

    /// A deny of a resource holds for its other spellings, too; a grant only for what it says.
    pub(crate) fn decide(
        &self,
        caller: &AgentId,
        server: &str,
        action: Action<'_>,
        rights: Rights<'_>,
    ) -> Result<RuleId, Denied> {
        let written = self.decide_as_written(caller, server, action, rights);
        // Also where no grant permits: who relaxes grants relies on denies.
        if let Action::Resource(uri) = action
            && !matches!(written, Err(Denied::DeniedBy { .. }))
            && let Some(plain) = plain(uri)
            && let Err(denied @ Denied::DeniedBy { .. }) =
                self.decide_as_written(caller, server, Action::Resource(&plain), rights)
        {
            return Err(denied);
        }
        written
    }

    fn decide_as_written(
        &self,
        caller: &AgentId,
        server: &str,
        action: Action<'_>,
        rights: Rights<'_>,
    ) -> Result<RuleId, Denied> {
        let Compiled { rules, index, .. } = &*self.compiled;
        let (mut granted, mut denied) = (None, None);
        // Grants that would permit it to somebody with more scopes, or with another role.
        let (mut scopes, mut roles) = (None, None);
        let mut any_grant = false;
        index.look_up(&self.as_caller(caller), server, |at| {
            let Some(rule) = usize::try_from(at).ok().and_then(|at| rules.get(at)) else { return };
            let first = match rule.id.effect() {
                Effect::Grant => {
                    any_grant = true;
                    match (action, rule.rights.missing(rights)) {
                        (Action::Protocol, _) | (_, None) => &mut granted,
                        (_, Some(Missing::Scopes)) => &mut scopes,
                        (_, Some(Missing::Role)) => &mut roles,
                    }
                }
                Effect::Deny => &mut denied,
            };
            if first.is_none_or(|earlier| at < earlier) && rule.matches(action) {
                *first = Some(at);
            }
        });
        let id = |at: u32| usize::try_from(at).ok().and_then(|at| rules.get(at)).map(|rule| rule.id);
        match (denied.and_then(id), granted.and_then(id), scopes.and_then(id), roles.and_then(id)) {
            (Some(rule), ..) => Err(Denied::DeniedBy { rule }),
            (None, Some(rule), ..) => Ok(rule),
            (None, None, Some(rule), _) => Err(Denied::LacksScopes { rule }),
            (None, None, None, Some(rule)) => Err(Denied::LacksRole { rule }),
            (None, None, None, None) if any_grant => Err(Denied::NoGrant),
            (None, None, None, None) => Err(Denied::NoGrantOnServer),
        }
    }

    /// A bare name for an agent of this trust domain, the whole SPIFFE ID for any other.
    pub(crate) fn as_caller<'a>(&self, agent: &'a AgentId) -> Caller<'a> {
        if agent.trust_domain() == self.trust_domain() { Caller::Own(agent.name()) } else { Caller::Foreign(agent) }
    }

    /// What the file probably does not mean to say, in the order of the file.
    #[must_use]
    pub fn warnings(&self) -> Vec<Finding> {
        crate::warning::findings(&self.compiled)
    }
}

impl Rule {
    /// Whether this rule speaks of the action, given that it speaks of the agent and of the server.
    pub(crate) fn matches(&self, action: Action<'_>) -> bool {
        let Some((kind, name)) = action.subject() else {
            return self.id.effect() == Effect::Grant || self.is_total_deny();
        };
        self.is_total_deny() || self.names_of(kind).is_some_and(|names| names.matches(name))
    }

    /// A deny that lists no kind denies everything.
    pub(crate) fn is_total_deny(&self) -> bool {
        self.id.effect() == Effect::Deny && self.names.iter().all(Option::is_none)
    }

    pub(crate) fn names_of(&self, kind: crate::Kind) -> Option<&Patterns> {
        let [tools, prompts, resources, methods] = &self.names;
        match kind {
            crate::Kind::Tool => tools.as_ref(),
            crate::Kind::Prompt => prompts.as_ref(),
            crate::Kind::Resource => resources.as_ref(),
            crate::Kind::Method => methods.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
