//! `countermark doctor`: whether a call would work, step by step, and what mends it.

mod local;
mod remote;
mod token;

use std::path::PathBuf;

use clap::Args;
use countermark_identity::{Clock, SystemClock};
use serde::Serialize;

use crate::{
    failure::{Exit, Outcome},
    output::{self, BAD, DIM, GOOD, JsonFlag, WARN, line, styled},
    runtime,
    token_client::ClientArgs,
};

/// Say step by step whether a call would work, and what mends it
///
/// Exit code 0 when every step passed, 1 when the policy denies, 3 when something is broken.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countermark doctor https://ledger.internal:8443/mcp --identity id/billing-bot --policy policy.toml"
)]
pub(crate) struct DoctorArgs {
    /// The server: https://HOST:PORT/mcp
    #[arg(value_name = "URL")]
    url: String,
    /// Identity directory of the agent that would call
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// The server that must answer: a name, or a full SPIFFE ID [default: the URL's host as a SAN]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Policy file of that server, to say what is granted
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// This agent's client id at the authorization server, where the server requires tokens
    #[arg(long, value_name = "ID", requires = "issuer", help_heading = "Access tokens")]
    client_id: Option<String>,
    /// The authorization server
    #[arg(long, value_name = "URL", requires = "client_id", help_heading = "Access tokens")]
    issuer: Option<String>,
    /// What the token is asked for (RFC 8707) [default: the server's URL]
    #[arg(long, value_name = "URI", requires = "client_id", help_heading = "Access tokens")]
    resource: Option<String>,
    /// A scope to ask for; may be repeated
    #[arg(long, value_name = "SCOPE", requires = "client_id", help_heading = "Access tokens")]
    scope: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    json: JsonFlag,
}

/// One step of the examination.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    state: State,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Passed,
    /// It works, and soon it will not.
    Warned,
    /// A step before it must pass first.
    Skipped,
    /// The policy says no.
    Denied,
    Failed,
}

/// The steps so far; printed as they come.
#[derive(Debug)]
struct Chart {
    steps: Vec<Step>,
    json: bool,
}

impl Chart {
    fn passed(&mut self, step: &'static str, finding: impl Into<String>) -> Outcome<()> {
        self.add(Step { step, state: State::Passed, finding: finding.into(), remedy: None })
    }

    fn warned(&mut self, step: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Outcome<()> {
        self.add(Step { step, state: State::Warned, finding: finding.into(), remedy: Some(remedy.into()) })
    }

    fn failed(&mut self, step: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Outcome<()> {
        self.add(Step { step, state: State::Failed, finding: finding.into(), remedy: Some(remedy.into()) })
    }

    fn denied(&mut self, step: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Outcome<()> {
        self.add(Step { step, state: State::Denied, finding: finding.into(), remedy: Some(remedy.into()) })
    }

    fn skipped(&mut self, step: &'static str, why: impl Into<String>) -> Outcome<()> {
        self.add(Step { step, state: State::Skipped, finding: why.into(), remedy: None })
    }

    fn add(&mut self, step: Step) -> Outcome<()> {
        if !self.json {
            let (style, mark) = match step.state {
                State::Passed => (GOOD, "✓"),
                State::Warned => (WARN, "!"),
                State::Skipped => (DIM, "-"),
                State::Denied | State::Failed => (BAD, "✗"),
            };
            line(format!("{} {:<13} {}", styled(style, mark), step.step, step.finding))?;
            if let Some(remedy) = step.remedy.as_deref().filter(|remedy| !remedy.is_empty()) {
                line(format!("  {:<13} → {remedy}", ""))?;
            }
        }
        self.steps.push(step);
        Ok(())
    }

    fn has(&self, state: State) -> bool {
        self.steps.iter().any(|step| step.state == state)
    }

    fn exit(&self) -> Exit {
        if self.has(State::Failed) {
            Exit::Failed
        } else if self.has(State::Denied) {
            Exit::Denied
        } else {
            Exit::Done
        }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Outcome<Exit> {
    let target = remote::Target::parse(&args.url)?;
    let now = SystemClock.now();
    let mut chart = Chart { steps: Vec::new(), json: args.json.json };
    let own = local::examine(&mut chart, &args.identity, now)?;
    runtime::short(async {
        let server = remote::examine(&mut chart, &target, args, own.as_ref(), now).await?;
        remote::grant(&mut chart, args, own.as_ref(), server.as_ref())
    })?;
    if args.json.json {
        output::json(&chart.steps)?;
    }
    Ok(chart.exit())
}
