//! What a trace tells of a request: its method, where its path leads, its status. Never a query, a header or a body.

use http::Uri;

/// The target of spans for traces, apart from whatever is logged.
pub(crate) const TARGET: &str = "countermark_trace";

/// The path, bounded: strangers choose it.
pub(crate) fn path(uri: &Uri) -> &str {
    let path = uri.path();
    let end = path.char_indices().nth(LONGEST).map_or(path.len(), |(at, _)| at);
    path.get(..end).unwrap_or_default()
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_bounded_and_has_no_query() {
        assert_eq!(path(&"https://x/mcp?token=secret".parse().unwrap()), "/mcp");
        assert_eq!(path(&format!("https://x/{}", "a".repeat(500)).parse().unwrap()).len(), LONGEST);
    }
}
