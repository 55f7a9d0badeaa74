//! Cuts what the caller may not see out of a list; what stays leaves as the bytes that came.

use std::ops::Range;

use super::message::Outcome;
use crate::Era;
use crate::method::List;

/// The text without the elements that `keep` refuses, marked as the caller's own; `None` if nothing has to change.
///
/// > `cacheScope`: … `"private"`: … MUST NOT be shared across different access tokens.
pub(crate) fn rewrite(
    text: &str,
    outcome: &Outcome<'_>,
    era: Era,
    keep: impl Fn(List, &str) -> bool,
) -> Option<String> {
    let mut edits = Vec::new();
    for (list, range) in &outcome.lists {
        edits.extend(filtered(text, outcome, *list, range, &keep));
    }
    edits.extend(private(text, outcome, era));
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|(range, _)| range.start);
    Some(apply(text, &edits))
}

type Edit = (Range<usize>, String);

fn filtered(
    text: &str,
    outcome: &Outcome<'_>,
    list: List,
    array: &Range<usize>,
    keep: impl Fn(List, &str) -> bool,
) -> Option<Edit> {
    let items = || outcome.items.iter().filter(|item| item.list == list);
    let kept: Vec<&str> = items()
        .filter(|item| item.name.as_deref().is_some_and(|name| keep(list, name)))
        .filter_map(|item| text.get(item.range.clone()))
        .collect();
    // Not an array at all: nothing in it can be told apart.
    let is_array = text.get(array.clone()).is_some_and(|raw| raw.starts_with('['));
    (!is_array || kept.len() != items().count()).then(|| (array.clone(), format!("[{}]", kept.join(","))))
}

fn private(text: &str, outcome: &Outcome<'_>, era: Era) -> Option<Edit> {
    const PRIVATE: &str = "\"private\"";
    if let Some(range) = &outcome.cache_scope {
        let already = text.get(range.clone()) == Some(PRIVATE);
        return (!already).then(|| (range.clone(), PRIVATE.to_owned()));
    }
    let result = outcome.result.as_ref().filter(|_| era == Era::Modern)?;
    let inner = text.get(result.clone())?.strip_prefix('{')?;
    let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
    let at = result.start + 1;
    Some((at..at, format!("\"cacheScope\":{PRIVATE}{comma}")))
}

fn apply(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut at = 0;
    for (range, new) in edits {
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(new);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
