//! `WWW-Authenticate`, written by servers and read by clients.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

/// A challenge of the scheme `Bearer`. [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3),
/// [RFC 9728 §5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain data that servers write out")]
pub struct Challenge {
    /// `invalid_token`, `insufficient_scope` or `invalid_request`; none where no credentials were sent.
    pub error: Option<String>,
    /// A sentence for whoever reads logs.
    pub description: Option<String>,
    /// The scopes that are needed, with spaces between.
    pub scope: Option<String>,
    /// Where the resource's metadata stands.
    pub resource_metadata: Option<String>,
}

impl Challenge {
    /// The header's value.
    #[must_use]
    pub fn to_value(&self) -> HeaderValue {
        let mut text = String::from("Bearer");
        let members = [
            ("error", &self.error),
            ("error_description", &self.description),
            ("scope", &self.scope),
            ("resource_metadata", &self.resource_metadata),
        ];
        let mut separator = ' ';
        for (name, value) in members {
            let Some(value) = value else { continue };
            text.push(separator);
            separator = ',';
            text.push_str(name);
            text.push_str("=\"");
            // RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E.
            text.extend(value.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }));
            text.push('"');
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }

    /// The first challenge of the scheme in an answer, if there is one that can be read.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).find_map(Self::read)
    }

    fn read(text: &str) -> Option<Self> {
        let mut challenge: Option<Self> = None;
        let mut rest = text.get(..LONGEST).unwrap_or(text);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                return challenge;
            }
            let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
                // A word without a value is a scheme; a second one ends ours.
                if challenge.is_some() {
                    return challenge;
                }
                challenge = word.eq_ignore_ascii_case("bearer").then(Self::default);
                rest = after;
                continue;
            };
            let (value, after) = member(value.trim_start_matches([' ', '\t']))?;
            if let Some(challenge) = &mut challenge {
                challenge.set(word, value);
            }
            rest = after;
        }
    }

    fn set(&mut self, name: &str, value: String) {
        let member = match name.to_ascii_lowercase().as_str() {
            "error" => &mut self.error,
            "error_description" => &mut self.description,
            "scope" => &mut self.scope,
            "resource_metadata" => &mut self.resource_metadata,
            _ => return,
        };
        // The first one counts.
        member.get_or_insert(value);
    }
}

/// A token or a quoted string, and what comes after it. [RFC 9110 §5.6](https://www.rfc-editor.org/rfc/rfc9110#section-5.6)
fn member(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Bytes of a challenge that are read.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        Challenge::of(&headers)
    }

    #[test]
    fn what_is_written_is_read() {
        let challenge = Challenge {
            error: Some("insufficient_scope".to_owned()),
            description: Some("a \"quoted\\ é".to_owned()),
            scope: Some("ledger.read ledger.write".to_owned()),
            resource_metadata: Some("https://ledger.test/.well-known/oauth-protected-resource/mcp".to_owned()),
        };
        let read = read(challenge.to_value().to_str().unwrap()).unwrap();
        assert_eq!(read.description.as_deref(), Some("a 'quoted' '"));
        assert_eq!(Challenge { description: None, ..read }, Challenge { description: None, ..challenge });
        assert_eq!(Challenge::default().to_value(), "Bearer");
    }

    #[test]
    fn one_challenge_of_several_and_no_nonsense() {
        let one = read(r#"Basic realm="x, Bearer y", bearer ERROR=invalid_token , scope = "a b", Digest qop="auth""#)
            .unwrap();
        assert_eq!((one.error.as_deref(), one.scope.as_deref()), (Some("invalid_token"), Some("a b")));
        assert_eq!(read("Bearer"), Some(Challenge::default()));
        for none in ["", "Basic realm=\"x\"", "Bearer scope=\"unclosed", "DPoP error=\"x\""] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
