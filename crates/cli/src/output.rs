//! What goes to stdout: facts as aligned lines or tables for people, JSON for programs.

use std::io::Write;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;

use crate::failure::Outcome;

/// `--json`, for every verb that prints facts.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct JsonFlag {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// One line of text; escape codes leave only when stdout is a terminal.
pub(crate) fn line(text: impl AsRef<str>) -> Outcome<()> {
    Ok(writeln!(anstream::stdout(), "{}", text.as_ref())?)
}

/// One JSON document, indented.
pub(crate) fn json(value: &impl Serialize) -> Outcome<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// The raw bytes that were asked for (a bundle, a CRL).
pub(crate) fn raw(text: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// A table without borders, as `ls` or `kubectl get` would print it.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Outcome<()> {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    aligned(&rows).into_iter().try_for_each(line)
}

/// Cells under each other. What a style adds to a cell takes no room on the screen, and none here.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |cell: &str| strip_str(cell).to_string().chars().count();
    let mut widths = [0; N];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let text = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, widest)| {
            let gap = " ".repeat(widest - width(cell) + GAP);
            format!("{cell}{gap}")
        });
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(text).collect()
}

/// Aligned `name  value` lines.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Outcome<()> {
    for (name, value) in facts {
        line(format!("{DIM}{name:>12}{DIM:#}  {value}"))?;
    }
    Ok(())
}

/// `value` in `style`.
pub(crate) fn styled(style: Style, value: impl std::fmt::Display) -> String {
    format!("{style}{value}{style:#}")
}

/// Between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_whatever_their_colour() {
        let row = |name: &str, health: String| [name.to_owned(), health, "7".to_owned()];
        let rows = [
            row("NAME", "HEALTH".to_owned()),
            row("ledger", styled(GOOD, "green")),
            row("billing-bot", styled(BAD, "red")),
        ];
        let lines = aligned(&rows).into_iter().map(|line| strip_str(&line).to_string());
        assert_eq!(
            lines.collect::<Vec<_>>(),
            ["NAME         HEALTH  7", "ledger       green   7", "billing-bot  red     7"]
        );
    }
}
