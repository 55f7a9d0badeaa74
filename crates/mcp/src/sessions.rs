//! Sessions of the older era, each bound to the identity that opened it, and to the person for whom it did.

mod records;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countermark_identity::{AgentId, UnixTime};
use countermark_oauth::Principal;
pub(crate) use records::Record;
use records::Records;

use crate::owner::Owner;
use crate::{Limits, RequestId};

/// Who holds which session. Bound to the identity, not to the certificate, and to the token's subject, not to the token:
/// rotation must not end a session. One that was opened without a token is bound to the first subject that may do something in it.
#[derive(Debug)]
pub(crate) struct Sessions {
    limits: Limits,
    open: Mutex<HashMap<Box<str>, Session>>,
}

#[derive(Debug)]
struct Session {
    agent: AgentId,
    principal: Option<Principal>,
    used: UnixTime,
    records: Records,
}

/// No session of this identity has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFound;

/// Why a session cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotOpen {
    /// All agents together hold as many as they may.
    Full,
    /// The upstream gave an id that another identity holds.
    Foreign,
    /// The upstream gave an id that is not visible ASCII, or too long.
    Malformed,
}

impl Session {
    fn is_of(&self, owner: Owner<'_>) -> bool {
        owner.may_use(&self.agent, self.principal)
    }
}

impl Sessions {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Whether one more session could be opened; idle ones are forgotten first.
    pub(crate) fn make_room(&self, now: UnixTime) -> Result<(), CannotOpen> {
        let mut open = self.lock();
        if open.len() >= self.limits.sessions {
            self.forget_idle(&mut open, now);
        }
        if open.len() < self.limits.sessions { Ok(()) } else { Err(CannotOpen::Full) }
    }

    /// Binds the id that the upstream gave to the identity that asked.
    pub(crate) fn open(&self, owner: Owner<'_>, id: &str, now: UnixTime) -> Result<(), CannotOpen> {
        if id.is_empty() || id.len() > 256 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CannotOpen::Malformed);
        }
        self.make_room(now)?;
        let mut open = self.lock();
        if open.get(id).is_some_and(|session| !session.is_of(owner)) {
            return Err(CannotOpen::Foreign);
        }
        let held = open.iter().filter(|(_, session)| session.agent == *owner.agent);
        if held.clone().count() >= self.limits.sessions_per_agent {
            let oldest = held.min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        let Owner { agent, principal } = owner;
        let session = Session { agent: agent.clone(), principal, used: now, records: Records::default() };
        open.insert(id.into(), session);
        Ok(())
    }

    /// The session is this identity's, and is used now.
    pub(crate) fn touch(&self, owner: Owner<'_>, id: &str, now: UnixTime) -> Result<(), NotFound> {
        let mut open = self.lock();
        match open.get_mut(id) {
            Some(session) if session.is_of(owner) => {
                if now.duration_since(session.used) > self.limits.session_idle {
                    open.remove(id);
                    return Err(NotFound);
                }
                session.used = now;
                Ok(())
            }
            _ => Err(NotFound),
        }
    }

    /// A call that is permitted goes on in the session, which is its person's from now on.
    pub(crate) fn claim(&self, owner: Owner<'_>, id: &str) -> Result<(), NotFound> {
        match self.lock().get_mut(id) {
            Some(session) if session.is_of(owner) => {
                session.principal = owner.principal;
                Ok(())
            }
            _ => Err(NotFound),
        }
    }

    /// Whether the session is still this owner's.
    pub(crate) fn holds(&self, owner: Owner<'_>, id: &str) -> bool {
        self.lock().get(id).is_some_and(|session| session.is_of(owner))
    }

    /// The session has ended.
    pub(crate) fn end(&self, owner: Owner<'_>, id: &str) {
        let mut open = self.lock();
        if open.get(id).is_some_and(|session| session.is_of(owner)) {
            open.remove(id);
        }
    }

    /// Remembers what a request of the session will be answered with, wherever the answer arrives.
    pub(crate) fn expect(&self, id: &str, request: RequestId<'static>, record: Record) {
        if let Some(session) = self.lock().get_mut(id) {
            session.records.insert(request, record);
        }
    }

    /// What the answer to this request of the session is.
    pub(crate) fn expected(&self, id: &str, request: &RequestId<'_>) -> Option<Record> {
        self.lock().get(id).and_then(|session| session.records.get(request))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }

    fn forget_idle(&self, open: &mut HashMap<Box<str>, Session>, now: UnixTime) {
        open.retain(|_, session| now.duration_since(session.used) <= self.limits.session_idle);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Session>> {
        // Each change is one insertion or removal, whole before anything could panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
