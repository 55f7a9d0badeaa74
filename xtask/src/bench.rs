//! `cargo xtask bench`.

use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// Skip the criterion benchmarks of the pure parts
    #[arg(long)]
    processes_only: bool,
}

pub(crate) fn run(context: &Context, arguments: &BenchArguments) -> Result<ExitCode> {
    if !arguments.processes_only {
        context
            .cargo(&["bench", "--workspace", "--all-features", "--benches"])
            .run()?;
    }
    Ok(ExitCode::SUCCESS)
}
