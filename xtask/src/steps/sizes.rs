//! How long the source files are.

use std::path::Path;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::report::Row;

/// Over this nothing lands.
const HARD: usize = 500;
/// Over this, tests not counted, one asks why.
const USUAL: usize = 300;

pub(super) fn run(context: &Context) -> Result<Vec<Row>> {
    let mut files = 0;
    let (mut long, mut over) = (0, 0);
    for path in context.tracked()? {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(context.root.join(&path))?;
        let lines = text.lines().count();
        let without_tests = without_tests(&path, &text);
        files += 1;
        if lines > HARD {
            over += 1;
            println!("{}: {lines} lines, {HARD} are the limit", path.display());
        } else if without_tests > USUAL {
            long += 1;
            println!("{}: {without_tests} lines without tests", path.display());
        }
    }
    if over > 0 {
        bail!("{over} files are over {HARD} lines");
    }
    let note = format!("{files} files, {long} over {USUAL} lines without tests");
    Ok(vec![Row::passed("sizes", note)])
}

/// How many lines stand before the test module, which ends its file; a file of tests has none.
fn without_tests(path: &Path, text: &str) -> usize {
    let of_tests = path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests");
    if of_tests {
        return 0;
    }
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_module_is_not_counted() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(without_tests(Path::new("src/a.rs"), text), 2);
        assert_eq!(without_tests(Path::new("src/a/tests.rs"), text), 0);
    }
}
