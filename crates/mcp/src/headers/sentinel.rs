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

/// The header value that stands for a text, wrapped where it could not stand bare.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let visible = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let edged = text.starts_with(' ') || text.ends_with(' ');
    let resembles = text.starts_with(PREFIX) && text.ends_with(SUFFIX);
    if visible && !edged && !resembles {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{}{SUFFIX}", BASE64_STANDARD.encode(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives_the_header() {
        for text in
            ["", "plain", "read balance", " edge", "edge ", "h\u{e9}", "line\nbreak", "\0", "=?base64?eA==?=", "a\tb"]
        {
            let header = encode(text);
            assert!(header.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{header}");
            assert_eq!(decode(&header).as_deref(), Some(text));
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
