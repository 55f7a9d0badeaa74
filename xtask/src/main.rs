//! The repeated tasks of this workspace: `cargo xtask test` runs everything that decides whether a change lands.

mod bench;
mod command;
mod context;
mod dist;
mod leaks;
mod peers;
mod report;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::context::Context;
use crate::report::Report;

/// The repeated tasks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run everything that decides whether a change lands
    Test(TestArguments),
    /// Measure: criterion for the pure parts, whole processes on loopback for the rest
    Bench(bench::BenchArguments),
    /// Pack what is shipped: binary, completions, manual pages, units, licences
    Dist(dist::DistArguments),
    /// Enforce deny.toml: dependency direction, bans, licences, sources
    Deny,
    /// List source files that are too long
    Sizes,
}

#[derive(Debug, clap::Args)]
struct TestArguments {
    /// Install the Debian packages that the peers need (through apt-get, as root)
    #[arg(long)]
    system: bool,
    /// Count a skip as a failure
    #[arg(long)]
    require_all: bool,
    /// Run this step alone; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// List the steps and stop
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (system, require_all) = match &arguments.task {
        Task::Test(test) => (test.system, test.require_all),
        _ => (false, false),
    };
    let mut context = Context::find(system)?;
    let mut report = Report::default();
    match arguments.task {
        Task::Test(test) if test.list => {
            steps::print_list();
            return Ok(ExitCode::SUCCESS);
        }
        Task::Test(test) => {
            if steps::selects(&test.only, "leaks") {
                context.watch = Some(leaks::Watch::start()?);
            }
            steps::run(&context, &test.only, &mut report)?;
        }
        Task::Bench(bench) => return bench::run(&context, &bench),
        Task::Dist(dist) => return dist::run(&context, &dist),
        Task::Deny => steps::run(&context, &["deny".to_owned()], &mut report)?,
        Task::Sizes => steps::run(&context, &["sizes".to_owned()], &mut report)?,
    }
    report.print();
    Ok(report.exit_code(require_all))
}
