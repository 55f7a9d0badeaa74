//! What goes to stdout: facts as aligned lines or tables for people, JSON for programs.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use clap::Args;
use comfy_table::{Table, presets};
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
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for text in table.to_string().lines() {
        line(text.trim_end())?;
    }
    Ok(())
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
