//! The steps that cargo itself does.

use anyhow::{Result, bail};

use crate::context::Context;
use crate::report::Row;
use crate::steps::LibTest;

pub(super) fn fmt(context: &Context) -> Result<Vec<Row>> {
    context.cargo(&["fmt", "--all", "--check"]).run()?;
    Ok(vec![Row::passed("fmt", "")])
}

pub(super) fn clippy(context: &Context) -> Result<Vec<Row>> {
    context.cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]).run()?;
    Ok(vec![Row::passed("clippy", "")])
}

/// Everything but the peers, which have a step of their own.
pub(super) fn tests(context: &Context) -> Result<Vec<Row>> {
    let (output, succeeded) = context
        .watched_cargo(&[
            "test",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--",
            "--skip",
            "peers::",
            "--skip",
            "examples::",
            "--show-output",
        ])
        .tee()?;
    LibTest::parse(&output).summary("tests", succeeded)
}

pub(super) fn docs(context: &Context) -> Result<Vec<Row>> {
    context.cargo(&["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    Ok(vec![Row::passed("docs", "")])
}

pub(super) fn examples(context: &Context) -> Result<Vec<Row>> {
    let build = ["build", "--workspace", "--all-features", "--examples"];
    context.cargo(&build).run()?;
    let (output, succeeded) = context
        .watched_cargo(&["test", "--workspace", "--all-features", "--test", "main", "--", "examples::"])
        .tee()?;
    let tests = LibTest::parse(&output);
    if tests.total() == 0 && succeeded {
        bail!("no test runs the examples");
    }
    tests.summary("examples", succeeded)
}

pub(super) fn quickstart(context: &Context) -> Result<Vec<Row>> {
    let mut quickstart = context.watched_cargo(&["run", "--release", "--", "quickstart", "--once"]);
    if let Some(watch) = &context.watch {
        // It removes what it makes for itself.
        quickstart = quickstart.arg_path("--dir", &watch.files().join("quickstart"));
    }
    if !quickstart.tee()?.1 {
        bail!("a step of the quickstart does not hold");
    }
    Ok(vec![Row::passed("quickstart", "")])
}
