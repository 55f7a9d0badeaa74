//! Reading what Rust's test harness prints.

use anyhow::{Result, bail};

use crate::report::{Row, Tally};

/// What the harnesses of one `cargo test` said.
#[derive(Debug, Default)]
pub(crate) struct LibTest {
    /// Each test by name with whether it passed; doctests and unit tests alike.
    pub(crate) tests: Vec<(String, Verdict)>,
    /// What the tests themselves said they left out: `SKIP name: why`.
    pub(crate) skips: Vec<(String, String)>,
}

/// How one test ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Ignored,
}

impl LibTest {
    pub(crate) fn parse(output: &str) -> Self {
        let mut parsed = Self::default();
        for line in output.lines() {
            if let Some(skip) = line.strip_prefix("SKIP ")
                && let Some((name, why)) = skip.split_once(": ")
            {
                let skip = (name.to_owned(), why.to_owned());
                if !parsed.skips.contains(&skip) {
                    parsed.skips.push(skip);
                }
            }
            if let Some(test) = line.strip_prefix("test ")
                && let Some((name, verdict)) = test.rsplit_once(" ... ")
                && let Some(verdict) = Verdict::parse(verdict)
            {
                parsed.tests.push((name.to_owned(), verdict));
            }
        }
        parsed
    }

    pub(crate) fn total(&self) -> usize {
        self.tests.len()
    }

    /// A row for each test; one that left something out counts as skipped.
    pub(crate) fn rows(&self, group: &str, succeeded: bool) -> Result<Vec<Row>> {
        let failed = self.tests.iter().any(|test| test.1 == Verdict::Failed);
        if !succeeded && !failed {
            bail!("the tests did not run to their end");
        }
        let row = |(name, verdict): &(String, Verdict)| {
            let short = name.strip_prefix(group).unwrap_or(name);
            let short = short.trim_start_matches("::").replace("::", " ");
            let title = format!("{group}: {}", short.replace('_', " "));
            let skip = self.skips.iter().find(|(skipped, _)| skipped == name);
            match (verdict, skip) {
                (Verdict::Failed, _) => Row::failed(title, ""),
                (Verdict::Ignored, _) => Row::skipped(title, "ignored"),
                (Verdict::Passed, Some((_, why))) => Row::skipped(title, why),
                (Verdict::Passed, None) => Row::passed(title, ""),
            }
        };
        Ok(self.tests.iter().map(row).collect())
    }

    /// One row for all of them.
    pub(crate) fn summary(&self, name: &str, succeeded: bool) -> Result<Vec<Row>> {
        let count = |wanted| self.tests.iter().filter(|test| test.1 == wanted).count();
        let tally = Tally {
            passed: count(Verdict::Passed).saturating_sub(self.skips.len()),
            failed: count(Verdict::Failed),
            skipped: count(Verdict::Ignored) + self.skips.len(),
        };
        if !succeeded && tally.failed == 0 {
            bail!("the tests did not run to their end");
        }
        let mut note = format!("{} tests", self.total());
        for (skipped, why) in &self.skips {
            note.push_str(&format!("; {skipped}: {why}"));
        }
        for (failed, _) in self.tests.iter().filter(|test| test.1 == Verdict::Failed) {
            note.push_str(&format!("; failed: {failed}"));
        }
        Ok(vec![Row::new(name, tally, note)])
    }
}

impl Verdict {
    fn parse(word: &str) -> Option<Self> {
        match word.split([' ', ',']).next()? {
            "ok" => Some(Self::Passed),
            "FAILED" => Some(Self::Failed),
            "ignored" => Some(Self::Ignored),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_harness_prints() {
        let parsed = LibTest::parse(
            "running 4 tests\n\
             test a::passes ... ok\n\
             test src/lib.rs - doc (line 3) - compile ... ok\n\
             test a::breaks ... FAILED\n\
             test a::waits ... ignored, needs a moon\n\
             SKIP java: mvn is not installed\n\
             SKIP java: mvn is not installed\n\
             test result: FAILED. 2 passed; 1 failed\n",
        );
        assert_eq!(parsed.total(), 4);
        assert_eq!(parsed.skips.len(), 1);
        let rows = parsed.summary("tests", false).unwrap();
        assert_eq!(rows[0].tally.passed, 1);
        assert_eq!(rows[0].tally.failed, 1);
        assert_eq!(rows[0].tally.skipped, 2);
    }

    #[test]
    fn a_run_that_stops_early_is_an_error() {
        assert!(LibTest::parse("test a ... ok\n").summary("tests", false).is_err());
    }
}
