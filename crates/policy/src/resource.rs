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

/// The plainest spelling of a URI that many servers read as the same resource; `None` if it is spelled so already.
///
/// The scheme in lower case, percent-encoding undone, slashes in a row after the authority made one. Only denies are held
/// against it: `file:///srv//secret` and `file:///srv/%73ecret` must not pass by a deny of `file:///srv/secret`.
pub(crate) fn plain(uri: &str) -> Option<String> {
    let mut decoded = uri.to_owned();
    for _ in 0..MAX_DECODINGS {
        match decode(&decoded) {
            Some(next) => decoded = next,
            None => break,
        }
    }
    let (scheme, rest) = decoded.split_once(':').map_or(("", decoded.as_str()), |(scheme, rest)| (scheme, rest));
    let mut text = scheme.to_ascii_lowercase();
    text.push_str(decoded.get(scheme.len()..decoded.len() - rest.len()).unwrap_or_default());
    let hierarchy = rest.strip_prefix("//");
    text.push_str(if hierarchy.is_some() { "//" } else { "" });
    let mut slash = false;
    for c in hierarchy.unwrap_or(rest).chars().filter(|c| !std::mem::replace(&mut slash, *c == '/') || *c != '/') {
        text.push(c);
    }
    (text != uri).then_some(text)
}

/// Undoes percent-encoding once; `None` if there is none.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut found = false;
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                found = true;
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    found.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// `%252573` is read as `s` by nobody known; more than that is not followed.
const MAX_DECODINGS: usize = 3;

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
    fn spells_plainly() {
        for (uri, wanted) in [
            ("file:///srv//secret", "file:///srv/secret"),
            ("file:////srv///secret", "file:///srv/secret"),
            ("file:///srv/%73ecret", "file:///srv/secret"),
            ("file:///srv/%2573ecret", "file:///srv/secret"),
            ("FILE:///srv/secret", "file:///srv/secret"),
            ("https://h//a%C3%A4", "https://h/a\u{e4}"),
            ("urn:a//b", "urn:a/b"),
            ("a//b", "a/b"),
            ("x:%ff", "x:\u{fffd}"),
            ("x:%+a%73", "x:%+as"),
        ] {
            assert_eq!(plain(uri).as_deref(), Some(wanted), "{uri}");
        }
        for uri in ["file:///srv/secret", "urn:a:b", "https://h/x?q=1", "100%", "a%2", "a%zz", "", ":", "x:%+a"] {
            assert_eq!(plain(uri), None, "{uri}");
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
