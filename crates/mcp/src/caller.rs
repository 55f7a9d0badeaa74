//! Who calls, for the handler behind the layer.

use countermark_identity::AgentId;
use countermark_mtls::VerifiedPeer;
use countermark_oauth::{UnverifiedToken, VerifiedToken};
use countermark_policy::Permit;
use http::Extensions;

use crate::tokens::Shown;

/// The caller of a permitted request: evidence that the layer has put into the request's extensions.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: VerifiedPeer,
    token: Option<Shown>,
    permit: Option<Permit>,
}

impl Caller {
    /// The caller of the request with these extensions; `None` if it never passed an
    /// [`AuthorizeLayer`](crate::AuthorizeLayer).
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(crate) fn assertion(peer: VerifiedPeer, token: Option<Shown>, permit: Option<Permit>) -> Self {
        Self { peer, token, permit }
    }

    /// The agent that calls.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        self.peer.agent()
    }

    /// The evidence of its handshake.
    #[must_use]
    pub fn peer(&self) -> &VerifiedPeer {
        &self.peer
    }

    /// Its token, where tokens are taken: on whose behalf it calls, and what that one may.
    #[must_use]
    pub fn token(&self) -> Option<&VerifiedToken> {
        self.token.as_ref().map(|shown| &*shown.verified)
    }

    /// The token as it came, for whoever exchanges it ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)); `None` unless the layer
    /// was told to keep it. Never send it anywhere but to an authorization server.
    #[must_use]
    pub fn subject_token(&self) -> Option<&UnverifiedToken> {
        self.token.as_ref()?.subject.as_deref()
    }

    /// What permitted the call; `None` only where the layer merely observes (`danger_observe`).
    #[must_use]
    pub fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}
