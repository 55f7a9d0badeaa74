//! The `countermark` command: every verb is one file, and this one only parses, dispatches and turns
//! the outcome into an exit code.

mod args;
mod ca;
mod config;
mod connect;
mod ctl;
mod doctor;
mod failure;
mod files;
mod guard;
mod inspect;
mod issuing;
mod join;
mod logging;
#[cfg(feature = "manual")]
mod manual;
mod material;
mod mint;
mod notify;
mod output;
mod passphrase;
mod peek;
mod policy;
mod progress;
mod quickstart;
mod remote;
mod renewing;
mod rotate;
mod rpc;
mod runtime;
mod telemetry;
mod token;
mod token_client;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Verb},
    failure::{Exit, Outcome},
};

fn main() -> ExitCode {
    let typed = match config::expand(std::env::args_os()) {
        Ok(typed) => typed,
        Err(error) => return failure::report(&error).into(),
    };
    let cli = Cli::parse_from(typed);
    cli.global.color.write_global();
    let filter = cli.global.log.as_deref().unwrap_or_else(|| cli.verb.log());
    let traces = match cli.verb.service().map_or(Ok(None), telemetry::configured) {
        Ok(traces) => traces,
        Err(error) => return failure::report(&error).into(),
    };
    logging::start(cli.global.log_format, filter, traces.as_ref());
    let outcome = run(cli.verb);
    drop(traces);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => failure::report(&error).into(),
    }
}

fn run(verb: Verb) -> Outcome<Exit> {
    match verb {
        Verb::Quickstart(args) => quickstart::run(&args),
        Verb::Ca(args) => ca::run(args),
        Verb::Mint(args) => mint::run(args),
        Verb::Join(args) => join::run(args),
        Verb::Rotate(args) => rotate::run(args),
        Verb::Ctl(args) => ctl::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Guard(args) => guard::run(*args),
        Verb::Connect(args) => connect::run(args),
        Verb::Token(args) => token::run(args),
        Verb::Policy(args) => policy::run(args),
        #[cfg(feature = "manual")]
        Verb::Manual(args) => manual::run(&args),
    }
}
