//! `countermark policy`: check, question or draft a policy file.

mod can;
mod check;
mod suggest;

use std::path::Path;

use clap::{Args, Subcommand};
use countermark_policy::Policy;

use crate::failure::{Exit, Explain, Outcome, failed};

/// Check, question or draft a policy file
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = "Example:\n  countermark policy check policy.toml")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Debug, Subcommand)]
enum PolicyVerb {
    /// Say everything that is wrong with a policy file, with line, column and remedy
    Check(check::CheckArgs),
    /// Say whether an agent may, and which rule decides
    Can(can::CanArgs),
    /// Write the least policy that permits what an audit saw
    Suggest(suggest::SuggestArgs),
}

pub(crate) fn run(args: PolicyArgs) -> Outcome<Exit> {
    match args.verb {
        PolicyVerb::Check(args) => check::run(&args),
        PolicyVerb::Can(args) => can::run(&args),
        PolicyVerb::Suggest(args) => suggest::run(&args),
    }
}

/// Reads a policy that must be right.
pub(crate) fn read(file: &Path) -> Outcome<Policy> {
    Policy::parse(&text(file)?).map_err(|errors| {
        let first = errors
            .iter()
            .next()
            .map_or_else(String::new, |error| format!("{}:{}: {}", error.line, error.column, error.message()));
        failed(format!("{}:{first}", file.display()), format!("countermark policy check {}", file.display()))
    })
}

/// The text of a policy file.
fn text(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).or_failed(
        format!("cannot read the policy {}", file.display()),
        "give the path of a policy file; README.md shows one",
    )
}
