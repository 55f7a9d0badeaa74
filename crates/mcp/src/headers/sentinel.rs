//! Header values that cannot stand bare: `=?base64?…?=`.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// The text that a mirrored header stands for; `None` if the wrapping lies.
pub(crate) fn decode(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = BASE64_STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_text_is_unwrapped_and_a_bare_one_is_itself() {
        for (header, text) in [
            ("plain", "plain"),
            ("", ""),
            ("=?base64??=", ""),
            ("=?base64?YsO8Y2hlcg==?=", "b\u{fc}cher"),
            ("=?base64?YQpi?=", "a\nb"),
            ("=?base64?PT9iYXNlNjQ/WVE9PT89?=", "=?base64?YQ==?="),
        ] {
            assert_eq!(decode(header).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_wrapping_that_lies_is_nothing() {
        for header in ["=?base64?***?=", "=?base64?/w==?=", "=?base64?eA?=", "=?base64?eB==?="] {
            assert_eq!(decode(header), None, "{header}");
        }
        assert_eq!(decode("=?BASE64?eA==?=").as_deref(), Some("=?BASE64?eA==?="), "the markers are lower-case");
    }
}
