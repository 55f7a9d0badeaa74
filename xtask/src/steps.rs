//! The steps of `cargo xtask test`, in the order in which they run.

mod cargo;
mod deny;
mod libtest;
mod secrets;
mod sizes;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::report::{Report, Row};
use crate::{leaks, peers};

pub(crate) use libtest::LibTest;

/// One step: what `--only` calls it, what it does.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Context) -> Result<Vec<Row>>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the sources are formatted", run: cargo::fmt },
    Step { name: "clippy", what: "no lint in any target with any feature", run: cargo::clippy },
    Step { name: "tests", what: "unit, flow and documentation tests", run: cargo::tests },
    Step { name: "docs", what: "the documentation builds without a warning", run: cargo::docs },
    Step { name: "deny", what: "dependency direction, bans, licences, sources, advisories", run: deny::run },
    Step { name: "sizes", what: "no source file over 500 lines", run: sizes::run },
    Step { name: "secrets", what: "no private key is tracked", run: secrets::run },
    Step { name: "examples", what: "the examples run and talk to each other", run: cargo::examples },
    Step { name: "quickstart", what: "the whole loop in one command, in release", run: cargo::quickstart },
    Step { name: "peers", what: "real third-party programs against the release binary", run: peers::run },
    Step { name: "leaks", what: "no token in anything that the steps before have said or written", run: leaks::run },
];

/// Runs the steps named in `only`, or all of them; a failure does not stop the rest.
pub(crate) fn run(context: &Context, only: &[String], report: &mut Report) -> Result<()> {
    for name in only {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("no step is called {name:?}; `cargo xtask test --list` names them");
        }
    }
    for step in STEPS {
        if !selects(only, step.name) {
            continue;
        }
        println!("\n── {}: {}", step.name, step.what);
        let started = Instant::now();
        let rows = (step.run)(context).unwrap_or_else(|error| {
            println!("! {error:#}");
            vec![Row::ended(step.name, &error)]
        });
        report.extend(rows, started.elapsed());
    }
    Ok(())
}

/// Whether a step runs: all do where none is named.
pub(crate) fn selects(only: &[String], step: &str) -> bool {
    only.is_empty() || only.iter().any(|name| name == step)
}

pub(crate) fn print_list() {
    for step in STEPS {
        println!("{:<10}  {}", step.name, step.what);
    }
}
