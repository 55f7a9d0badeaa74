//! Places in a text, and the nearest of several words.

use std::ops::Range;

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A text that knows where its lines begin.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Where this range begins.
    pub(crate) fn place(&self, range: &Range<usize>) -> Place {
        let line = self.starts.partition_point(|&start| start <= range.start);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let before = self.text.get(start..range.start).unwrap_or_default();
        let column = before.chars().count().saturating_add(1);
        Place { line: line.try_into().unwrap_or(u32::MAX), column: column.try_into().unwrap_or(u32::MAX) }
    }
}

/// The candidate that was probably meant: at most a third of its characters (at least one, at most three) differ.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(MAX_WORD).collect();
    let distance = |candidate: &str| edits(&word, &candidate.chars().take(MAX_WORD).collect::<Vec<_>>());
    let scored = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    let close = scored.filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).clamp(1, 3));
    close.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many characters must be added, removed, replaced or swapped with their neighbour.
fn edits(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(a != b);
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    at(&row, other.len())
}

const MAX_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let lines = Lines::new("a\n\u{e4}\u{e4}b\n");
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (2, 2, 1), (6, 2, 3), (8, 3, 1), (99, 3, 1)] {
            assert_eq!(lines.place(&(offset..offset)), Place { line, column }, "{offset}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        let keys = ["who", "servers", "tools", "prompts", "resources", "methods"];
        for (word, meant) in [
            ("tool", Some("tools")),
            ("toosl", Some("tools")),
            ("server", Some("servers")),
            ("recources", Some("resources")),
            ("hwo", Some("who")),
            ("allow", None),
            ("", None),
            ("w", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
