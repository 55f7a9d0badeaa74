//! Whose something is that outlives one request.

use countermark_identity::AgentId;
use countermark_oauth::Principal;

/// Whose a session, a task or a question is: the agent's, and where it called with a token, on behalf of whom it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) principal: Option<Principal>,
}

impl Owner<'_> {
    /// Whether this caller may use what `agent` came by on behalf of `principal`. What it came by without a token is its own,
    /// whomever it calls for.
    pub(crate) fn may_use(&self, agent: &AgentId, principal: Option<Principal>) -> bool {
        self.agent == agent && (principal.is_none() || principal == self.principal)
    }
}
