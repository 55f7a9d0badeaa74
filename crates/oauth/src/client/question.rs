//! What a token is asked for.

use std::fmt;
use std::sync::Arc;

/// What a token is asked for: for which resource, with which scopes. Two that say the same are one, and get one token.
/// A clone is a pointer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Question(Arc<Parts>);

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Parts {
    resource: Option<String>,
    scopes: Vec<String>,
}

impl Question {
    /// A token for this resource ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)): an MCP server's URL without
    /// a slash at its end.
    #[must_use]
    pub fn of(resource: impl Into<String>) -> Self {
        Self(Arc::new(Parts { resource: Some(resource.into()), scopes: Vec::new() }))
    }

    /// With these scopes, too.
    #[must_use]
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        let mut parts = Arc::unwrap_or_clone(self.0);
        parts.scopes.extend(scopes.into_iter().map(Into::into));
        parts.scopes.sort_unstable();
        parts.scopes.dedup();
        Self(Arc::new(parts))
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// The scopes, sorted.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource().unwrap_or("no resource"))?;
        if self.scopes().is_empty() { Ok(()) } else { write!(f, " with scopes {}", self.scopes().join(" ")) }
    }
}
