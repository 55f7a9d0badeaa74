//! What the policy says to everything that one message needs.

use std::fmt;
use std::sync::Arc;

use countermark_policy::{Denied, Permit, Policy, Rights, RuleId};

use super::Authorization;
use crate::method::{Demand, List};
use crate::owner::Owner;
use crate::tasks::Tasks;

/// Who asks, and what its token gives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) owner: Owner<'a>,
    pub(super) rights: Rights<'a>,
}

/// Everything that was needed is permitted, or would be denied where the layer only observes.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The policy that said so.
    pub(super) policy: Arc<Policy>,
    /// The permit of the first need.
    pub(super) permit: Option<Permit>,
    /// The first need that lacks a grant and passes all the same.
    pub(super) would_deny: Option<Denial>,
}

/// One need is denied.
#[derive(Debug)]
pub(super) struct Denial {
    /// Which of the needs.
    pub(super) demand: usize,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Policy(Denied),
    ForeignTask,
}

impl Denial {
    /// The scopes that would have been enough, if nothing but scopes stood in the way.
    pub(super) fn lacks_scopes(&self, policy: &Policy) -> Option<Vec<Box<str>>> {
        match self.reason {
            Reason::Policy(Denied::LacksScopes { rule }) => Some(policy.scopes_of(rule).to_vec()),
            _ => None,
        }
    }

    /// The rule that decided, if one did.
    pub(super) fn rule(&self) -> Option<RuleId> {
        match &self.reason {
            Reason::Policy(denied) => denied.rule(),
            Reason::ForeignTask => None,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Policy(denied) => denied.fmt(f),
            Reason::ForeignTask => f.write_str("the agent has made no such task for whom it calls"),
        }
    }
}

/// Asks the current policy for everything that a message needs.
pub(super) fn authorize(
    config: &Authorization,
    tasks: &Tasks,
    holder: Holder<'_>,
    demands: &[Demand],
) -> Result<Verdict, Denial> {
    let policy = config.policy.borrow().clone();
    let mut verdict = Verdict { policy: Arc::clone(&policy), permit: None, would_deny: None };
    for (index, demand) in demands.iter().enumerate() {
        let denial = |reason| Denial { demand: index, reason };
        let maker = match demand {
            Demand::Task(task) => Some(tasks.maker(holder.owner, task).ok_or_else(|| denial(Reason::ForeignTask))?),
            _ => None,
        };
        let action = maker.as_ref().unwrap_or(demand).action();
        match policy.authorize_with(holder.owner.agent, &config.server, action, holder.rights) {
            Ok(permit) => verdict.permit = verdict.permit.or(Some(permit)),
            Err(denied) if config.danger_observe && denied.lacks_grant() => {
                verdict.would_deny = verdict.would_deny.or_else(|| Some(denial(Reason::Policy(denied))));
            }
            Err(denied) => return Err(denial(Reason::Policy(denied))),
        }
    }
    Ok(verdict)
}

/// Whether the caller may see this element of a list.
///
/// A resource template is judged by its own text as if it were a URI: a grant shows it if it covers every expansion of the
/// literal part, so a narrower grant hides the template but still permits the resources that it grants. What a caller could
/// have with more scopes is shown, where tokens are taken: it can ask for those only once it tries.
pub(super) fn shows(
    config: &Authorization,
    policy: &Policy,
    tasks: &Tasks,
    holder: Holder<'_>,
    (list, name): (List, &str),
) -> bool {
    let demand = match list {
        List::Tools => Demand::Tool(name.into()),
        List::Prompts => Demand::Prompt(name.into()),
        List::Resources | List::Templates => Demand::Resource(name.into()),
        List::Tasks => return tasks.maker(holder.owner, name).is_some(),
    };
    match policy.authorize_with(holder.owner.agent, &config.server, demand.action(), holder.rights) {
        Ok(_) => true,
        Err(Denied::LacksScopes { .. }) => config.tokens.rules().is_some(),
        Err(denied) => config.danger_observe && denied.lacks_grant(),
    }
}
