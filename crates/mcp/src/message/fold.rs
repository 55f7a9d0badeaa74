//! Keys that another parser might take for a key that matters.

/// The key of `significant` that `key` is not, but that a parser which folds case would take it for:
/// ASCII case (`Name`), long s (`param\u{17f}`), Kelvin sign (`to\u{212a}en`), dotless i.
pub(crate) fn lookalike(key: &str, significant: &[&'static str]) -> Option<&'static str> {
    if significant.contains(&key) {
        return None;
    }
    // What matters is ASCII, so an ASCII key differs from it in ASCII case or not at all.
    if key.is_ascii() {
        return significant.iter().copied().find(|other| other.eq_ignore_ascii_case(key));
    }
    significant.iter().copied().find(|other| folded(key).eq(folded(other)))
}

/// Upper, then lower case: both simple foldings and the special letters end at the same text.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_folds_to_a_significant_key() {
        for key in ["Name", "NAME", "nAme"] {
            assert_eq!(lookalike(key, &["uri", "name"]), Some("name"), "{key}");
        }
        assert_eq!(lookalike("param\u{17f}", &["params"]), Some("params"));
        assert_eq!(lookalike("ta\u{17f}\u{212a}Id", &["taskId"]), Some("taskId"));
        assert_eq!(lookalike("ur\u{131}", &["uri"]), Some("uri"));
    }

    #[test]
    fn the_short_way_for_ascii_says_what_folding_says() {
        const SIGNIFICANT: [&str; 3] = ["uri", "name", "_META"];
        for key in ["Name", "NAME", "nam", "uRI", "_meta", "x-y", ""] {
            let folds = SIGNIFICANT.into_iter().find(|other| folded(key).eq(folded(other)));
            assert_eq!(lookalike(key, &SIGNIFICANT), folds, "{key}");
        }
    }

    #[test]
    fn leaves_other_keys_alone() {
        for key in ["name", "names", "title", "", "na", "n\u{e4}me"] {
            assert_eq!(lookalike(key, &["name", "uri"]), None, "{key}");
        }
    }
}
