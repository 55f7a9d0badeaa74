//! What can be typed: the global flags and the verbs. Each verb's own flags stand in its file.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "manual")]
use crate::manual;
use crate::{ca, connect, ctl, doctor, guard, inspect, join, mint, policy, quickstart, rotate, token};

/// Every internal agent has an identity, and every MCP tool call proves it.
#[derive(Debug, Parser)]
#[command(
    name = "countermark",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit codes: 0 done or permitted, 1 denied, 2 wrong usage, 3 failed.\n\nExample:\n  countermark quickstart --once"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct GlobalArgs {
    /// When to colour: only on a terminal, always, or never
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// How log lines on stderr are written
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or `target=level` pairs [default: info for what serves, warn for the others]
    #[arg(long, global = true, env = "COUNTERMARK_LOG", hide_env_values = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Makes the choice for every stream of the process.
    pub(crate) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the whole loop on loopback: mint, connect, be authorised, call, be refused
    Quickstart(quickstart::QuickstartArgs),
    /// Run the certificate authority of a trust domain
    Ca(ca::CaArgs),
    /// Mint a certificate for an agent, a server or an administrator
    Mint(mint::MintArgs),
    /// Enrol with an authority: from an invite or a token to an identity directory
    Join(join::JoinArgs),
    /// Show what a certificate, an identity directory or a live server says it is
    Inspect(inspect::InspectArgs),
    /// Say step by step whether a call would work, and what mends it
    Doctor(doctor::DoctorArgs),
    /// Stand before an MCP server: mTLS, identity, policy for each call
    Guard(Box<guard::GuardArgs>),
    /// Stand behind an MCP client: carry its calls over mTLS with a live identity
    Connect(connect::ConnectArgs),
    /// Keep any number of credentials fresh, deliver them, and prove that they are served
    Rotate(rotate::RotateArgs),
    /// Ask and tell a `countermark rotate` that runs on this machine
    Ctl(ctl::CtlArgs),
    /// Ask for an access token as this agent, and say what it is
    Token(token::TokenArgs),
    /// Check, question or draft a policy file
    Policy(policy::PolicyArgs),
    /// Write shell completions and manual pages
    #[cfg(feature = "manual")]
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

impl Verb {
    /// What this verb logs unless told otherwise.
    pub(crate) const fn log(&self) -> &'static str {
        match self {
            Self::Quickstart(_) => "error",
            _ if self.service().is_some() => "info",
            _ => "warn",
        }
    }

    /// What it is to those who look at many services; none, if it ends when its work is done.
    pub(crate) const fn service(&self) -> Option<&'static str> {
        match self {
            Self::Guard(_) => Some("countermark-guard"),
            Self::Connect(_) => Some("countermark-connect"),
            Self::Rotate(_) => Some("countermark-rotate"),
            Self::Ca(args) if args.is_serving() => Some("countermark-ca"),
            _ => None,
        }
    }
}

/// `90s`, `15m`, `1h`, `7d`: one number and its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write 90s, 15m, 1h or 7d");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "1", "s", "0s", "-1h", "1.5h", "1w", "99999999999999999999d", "1h30m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
