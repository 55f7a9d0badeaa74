//! The narration: each step says what is tried, what happened, and whether that is what must happen.

use crate::{
    failure::Outcome,
    output::{BAD, BOLD, DIM, GOOD, line, styled},
};

/// Counts the steps and whether each one held.
#[derive(Debug, Default)]
pub(super) struct Story {
    steps: usize,
    broken: Vec<usize>,
}

/// What a step saw: the evidence, or what should not have been.
pub(super) type Seen = Result<Vec<String>, String>;

impl Story {
    /// Tells one step.
    pub(super) fn tell(&mut self, what: &str, seen: Seen) -> Outcome<()> {
        self.steps += 1;
        line(format!("\n{BOLD}{}. {what}{BOLD:#}", self.steps))?;
        match seen {
            Ok(evidence) => {
                let mark = styled(GOOD, "✓");
                for (at, fact) in evidence.iter().enumerate() {
                    let mark = if at == 0 { mark.as_str() } else { " " };
                    line(format!("   {mark} {fact}"))?;
                }
            }
            Err(wrong) => {
                self.broken.push(self.steps);
                line(format!("   {} {wrong}", styled(BAD, "✗ this must not be:")))?;
            }
        }
        Ok(())
    }

    /// Whether every step held.
    pub(super) fn held(&self) -> bool {
        self.broken.is_empty()
    }

    /// The last line.
    pub(super) fn end(&self) -> Outcome<()> {
        if self.held() {
            line(format!("\n{}", styled(GOOD, format!("All {} steps held.", self.steps))))
        } else {
            let numbers: Vec<_> = self.broken.iter().map(ToString::to_string).collect();
            line(format!("\n{}", styled(BAD, format!("Broken: step {} of {}.", numbers.join(", "), self.steps))))
        }
    }
}

/// Dimmed evidence, such as a line of the audit.
pub(super) fn quoted(text: impl std::fmt::Display) -> String {
    styled(DIM, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_step_breaks_the_story() {
        let mut story = Story::default();
        story.tell("a", Ok(vec!["fine".into()])).unwrap();
        assert!(story.held());
        story.tell("b", Err("not fine".into())).unwrap();
        assert!(!story.held());
    }
}
