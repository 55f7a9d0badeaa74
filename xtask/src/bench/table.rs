//! The table: medians of ratios.

use std::collections::BTreeMap;
use std::fmt;

use super::process::Server;

/// What is measured, by the names that the load knows, in the order of the columns.
pub(crate) const WHAT: [&str; 4] = ["calls", "handshakes", "strangers", "resumptions"];

/// Seconds of CPU time by what was done, a row of rounds for each server.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<&'static str>,
    measured: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    idle: BTreeMap<&'static str, f64>,
}

impl Table {
    pub(crate) fn new(servers: &[Server]) -> Self {
        Self {
            names: servers.iter().map(|server| server.name).collect(),
            measured: BTreeMap::new(),
            idle: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, what: &'static str, server: &Server, seconds: f64) {
        self.measured.entry((what, server.name)).or_default().push(seconds);
    }

    pub(crate) fn set_idle(&mut self, server: &Server, kib: f64) {
        self.idle.insert(server.name, kib);
    }

    /// The median over the rounds of this server's time by that of the first.
    fn ratio(&self, what: &'static str, name: &'static str) -> Option<f64> {
        let (limit, own) = (self.measured.get(&(what, self.names.first()?))?, self.measured.get(&(what, name))?);
        median(own.iter().zip(limit).map(|(own, limit)| own / limit).collect())
    }

    fn micros(&self, what: &'static str) -> Option<f64> {
        Some(median(self.measured.get(&(what, self.names.first()?))?.clone())? * 1e6)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| server | proxied call | full handshake | of an agent never seen | resumed | KiB per idle connection |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for (row, name) in self.names.iter().enumerate() {
            write!(f, "| {name} ")?;
            for what in WHAT {
                match (row, self.micros(what), self.ratio(what, name)) {
                    (0, Some(micros), _) => write!(f, "| 1 (≈ {micros:.0} µs) ")?,
                    (_, _, Some(ratio)) => write!(f, "| {ratio:.2} ")?,
                    _ => write!(f, "| – ")?,
                }
            }
            writeln!(f, "| {:.1} |", self.idle.get(name).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
