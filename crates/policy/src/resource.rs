//! Resource URIs that could mean another resource than the one that is matched.

use serde::Serialize;

/// Why a resource URI is refused before any rule is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a new reason must break every match on a denial")]
pub enum UnsafeResource {
    /// A backslash, which some servers read as a slash.
    #[error("it has a backslash in it")]
    Backslash,
    /// A control character.
    #[error("it has a control character in it")]
    Control,
    /// A segment `.` or `..`, which a server would resolve.
    #[error("it has a segment '.' or '..'")]
    DotSegment,
    /// `%2e`, `%2f` or `%5c`, in whatever case, also behind a doubly encoded percent sign.
    #[error("it has a dot, slash or backslash in percent-encoding")]
    Encoded,
}

/// Refuses what a server may read differently from how it was matched.
pub(crate) fn require_safe(uri: &str) -> Result<(), UnsafeResource> {
    if uri.contains('\\') {
        return Err(UnsafeResource::Backslash);
    }
    if uri.chars().any(char::is_control) {
        return Err(UnsafeResource::Control);
    }
    if has_encoded_separator(uri.as_bytes()) {
        return Err(UnsafeResource::Encoded);
    }
    // Some servers cut parameters (`..;x`) from a segment before they resolve it.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if uri.split(['/', '?', '#', ':']).any(is_dots) { Err(UnsafeResource::DotSegment) } else { Ok(()) }
}

fn has_encoded_separator(bytes: &[u8]) -> bool {
    let behind_percent = |mut rest: &[u8]| {
        // `%252e` is `%2e` to a server that decodes twice.
        while let Some(inner) = rest.strip_prefix(b"25") {
            rest = inner;
        }
        rest.get(..2).is_some_and(|hex| [b"2e", b"2f", b"5c"].iter().any(|bad| hex.eq_ignore_ascii_case(*bad)))
    };
    bytes.split(|&byte| byte == b'%').skip(1).any(behind_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_a_server_may_resolve() {
        use UnsafeResource::{Backslash, Control, DotSegment, Encoded};
        for (uri, why) in [
            ("file:///srv/../etc/passwd", DotSegment),
            ("file:///srv/.", DotSegment),
            ("file:///./srv", DotSegment),
            ("..", DotSegment),
            ("../x", DotSegment),
            ("file:../x", DotSegment),
            ("file:///srv/..?x", DotSegment),
            ("file:///srv/..#x", DotSegment),
            ("file:///srv/..;a=b/x", DotSegment),
            ("file:///srv/%2e%2e/x", Encoded),
            ("file:///srv/.%2E/x", Encoded),
            ("file:///srv%2fx", Encoded),
            ("file:///srv%2Fx", Encoded),
            ("file:///srv%5Cx", Encoded),
            ("file:///srv%252e%252e/x", Encoded),
            ("file:///srv%25252fx", Encoded),
            ("file:///srv\\x", Backslash),
            ("file:///srv/\0", Control),
            ("file:///srv/\n", Control),
            ("file:///srv/\u{85}", Control),
        ] {
            assert_eq!(require_safe(uri), Err(why), "{uri:?}");
        }
    }

    #[test]
    fn passes_ordinary_uris() {
        for uri in [
            "file:///srv/report.pdf",
            "ledger://entries/2026",
            "file:///srv/...",
            "file:///srv/.hidden",
            "urn:a:b",
            "file:///a%20b",
            "file:///100%",
            "file:///%2",
            "https://h/x?q=a.b#c",
            "file:///a..b/c",
        ] {
            assert_eq!(require_safe(uri), Ok(()), "{uri:?}");
        }
    }
}
