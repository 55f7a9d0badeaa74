//! What a token gives its holder, and what a grant demands of it.

/// The scopes and roles that a caller's token holds; both are sorted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rights<'a> {
    scopes: &'a [Box<str>],
    roles: &'a [Box<str>],
}

impl<'a> Rights<'a> {
    /// Those of somebody who shows no token.
    pub const NONE: Rights<'static> = Rights { scopes: &[], roles: &[] };

    /// These; each list must be sorted, or what stands out of order is not found.
    #[must_use]
    pub const fn new(scopes: &'a [Box<str>], roles: &'a [Box<str>]) -> Self {
        Self { scopes, roles }
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.scopes.binary_search_by(|held| (**held).cmp(scope)).is_ok()
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|held| (**held).cmp(role)).is_ok()
    }
}

/// What a grant demands of a token: all of the scopes, any of the roles.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Demanded {
    pub(crate) scopes: Vec<Box<str>>,
    pub(crate) roles: Vec<Box<str>>,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Missing {
    /// Scopes, which the caller may ask for.
    Scopes,
    /// A role, which somebody else must give it.
    Role,
}

impl Demanded {
    pub(crate) fn is_nothing(&self) -> bool {
        self.scopes.is_empty() && self.roles.is_empty()
    }

    pub(crate) fn missing(&self, rights: Rights<'_>) -> Option<Missing> {
        if !self.roles.is_empty() && !self.roles.iter().any(|role| rights.has_role(role)) {
            return Some(Missing::Role);
        }
        if !self.scopes.iter().all(|scope| rights.has_scope(scope)) {
            return Some(Missing::Scopes);
        }
        None
    }
}
