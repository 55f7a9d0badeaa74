//! What is demanded of one issuer's tokens.

use std::collections::HashMap;
use std::time::Duration;

use countermark_identity::AgentId;

/// What is demanded of one issuer's tokens. There is no permissive default: an issuer, an audience and the clients must be
/// named.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out; `new` gives the safe defaults")]
pub struct IssuerRules {
    /// The issuer, as its tokens name it: compared exactly.
    pub issuer: String,
    /// The audiences that stand for us; a token must name one of them.
    pub audiences: Vec<String>,
    /// How its access tokens look.
    pub profile: Profile,
    /// Where roles stand.
    pub roles: Vec<ClaimPath>,
    /// Which agents a client of the issuer may be. No entry, no entry.
    pub clients: HashMap<String, Vec<AgentId>>,
    /// What binds a token.
    pub binding: Binding,
    /// How far the issuer's clock may be ahead of ours; an end is never put off.
    pub leeway: Duration,
    /// The longest life of a token, from `iat` to `exp`.
    pub longest: Duration,
    /// How many actors may stand between a token's subject and us ([RFC 8693 §4.1](https://www.rfc-editor.org/rfc/rfc8693#section-4.1)).
    pub actors: usize,
}

impl IssuerRules {
    /// The safe defaults: RFC 9068, bound by certificate, 30 s of leeway, a day of life, one actor, no client.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            profile: Profile::Rfc9068,
            roles: Profile::Rfc9068.roles(),
            clients: HashMap::new(),
            binding: Binding::Certificate,
            leeway: Duration::from_secs(30),
            longest: Duration::from_secs(24 * 3600),
            actors: 1,
        }
    }
}

/// How an issuer writes access tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new profile must break every match that decides")]
pub enum Profile {
    /// `typ` is `at+jwt` and every claim of [RFC 9068 §2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2) is there.
    Rfc9068,
    /// Keycloak's older form, too: `typ` `JWT` in the header, `Bearer` in the payload, the client in `azp`.
    Keycloak,
}

impl Profile {
    /// Where roles stand unless somebody says otherwise.
    #[must_use]
    pub fn roles(self) -> Vec<ClaimPath> {
        match self {
            // RFC 9068 §2.2.3.1
            Self::Rfc9068 => vec![ClaimPath::of(&["roles"])],
            Self::Keycloak => vec![ClaimPath::of(&["realm_access", "roles"])],
        }
    }
}

/// What makes a token its bearer's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever decides must decide about both")]
pub enum Binding {
    /// `cnf.x5t#S256` must be there and must be the caller's certificate.
    Certificate,
    /// A token without `cnf` passes: whoever steals it can use it. One that has it must still fit.
    DangerBearer,
}

/// The way to a claim: `realm_access.roles`. A dot that belongs to a name is written `\.`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimPath(Vec<String>);

/// A path without a name in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a claim's path is names with dots between them, as realm_access.roles; a dot within a name is written \\.")]
pub struct ClaimPathError(());

impl ClaimPath {
    fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }
}

impl std::str::FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let character = match character {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => characters.next().ok_or(ClaimPathError(()))?,
                other => other,
            };
            names.last_mut().ok_or(ClaimPathError(()))?.push(character);
        }
        if names.iter().any(String::is_empty) { Err(ClaimPathError(())) } else { Ok(Self(names)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names() {
        let read = |text: &str| text.parse::<ClaimPath>().map(|path| path.0);
        assert_eq!(read("realm_access.roles").unwrap(), ["realm_access", "roles"]);
        assert_eq!(read(r"https://a\.b/roles").unwrap(), ["https://a.b/roles"]);
        for wrong in ["", ".", "a.", ".a", "a..b", "a\\"] {
            assert_eq!(read(wrong), Err(ClaimPathError(())), "{wrong}");
        }
    }
}
