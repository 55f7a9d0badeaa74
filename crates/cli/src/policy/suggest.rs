//! `policy suggest`: from an audit to the least policy that permits what it saw.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use clap::Args;
use countermark_identity::{AgentId, ServerId, TrustDomain};
use countermark_policy::{Kind, Observed, suggest};
use serde::Deserialize;

use crate::{
    failure::{Exit, Explain, Outcome, failed, usage},
    output,
    progress::Progress,
};

/// Write the least policy that permits what an audit saw
///
/// Takes what was permitted and what --danger-observe let pass (would_deny); what was denied or
/// refused stays so. Read it before you use it: it permits what happened, not what should have.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark policy suggest audit.jsonl > policy.toml")]
pub(super) struct SuggestArgs {
    /// Audit of a guard, one JSON line a decision
    #[arg(value_name = "AUDIT.jsonl")]
    audit: PathBuf,
    /// The trust domain of the servers [default: that of the agents, where there is one]
    #[arg(long, value_name = "TD")]
    trust_domain: Option<String>,
}

/// What an audit line must say to count.
#[derive(Debug, Deserialize)]
struct Line {
    agent: String,
    trust_domain: String,
    server: String,
    outcome: String,
    kind: Option<Asked>,
    name: Option<String>,
}

/// What was asked for, as guard writes it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Method,
    Prompt,
    Protocol,
    Resource,
    Task,
    Tool,
}

impl Asked {
    /// The kind of rule that permits it; the protocol and tasks need none beside the agent's others.
    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Method => Some(Kind::Method),
            Self::Prompt => Some(Kind::Prompt),
            Self::Resource => Some(Kind::Resource),
            Self::Tool => Some(Kind::Tool),
            Self::Protocol | Self::Task => None,
        }
    }
}

pub(super) fn run(args: &SuggestArgs) -> Outcome<Exit> {
    let next = "give the file that guard writes with --audit FILE";
    let what = || format!("cannot read the audit {}", args.audit.display());
    let file = File::open(&args.audit).or_failed(what(), next)?;
    let _progress = Progress::start("reading the audit");
    let mut lines = Vec::new();
    for (at, text) in BufReader::new(file).lines().enumerate() {
        let text = text.or_failed(what(), next)?;
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text)
            .or_failed(format!("{}:{}: no line of an audit", args.audit.display(), at + 1), next)?;
        if matches!(line.outcome.as_str(), "permit" | "would_deny") {
            lines.push((at + 1, line));
        }
    }
    let own = own(args, &lines)?;
    let observed = lines
        .iter()
        .map(|(at, line)| observed(line, &own).or_failed(format!("{}:{at}", args.audit.display()), next))
        .collect::<Outcome<Vec<_>>>()?;
    output::raw(&suggest(&own, observed))?;
    Ok(Exit::Done)
}

/// Whose servers these are: an audit line names its server without the trust domain.
fn own(args: &SuggestArgs, lines: &[(usize, Line)]) -> Outcome<TrustDomain> {
    let domains: BTreeSet<&str> = lines.iter().map(|(_, line)| line.trust_domain.as_str()).collect();
    let next = "give --trust-domain TD, that of the servers";
    let name = match (&args.trust_domain, domains.len()) {
        (Some(name), _) => name.as_str(),
        (None, 0) => {
            let what = format!("{} saw no call that passed", args.audit.display());
            return Err(failed(what, "let guard run for a while with --danger-observe"));
        }
        (None, 1) => domains.first().copied().unwrap_or_default(),
        (None, _) => return Err(usage("the agents are of several trust domains", next)),
    };
    name.parse().map_err(|error| usage(format!("the trust domain `{name}`: {error}"), next))
}

fn observed(line: &Line, own: &TrustDomain) -> Outcome<Observed> {
    let agent = AgentId::new(&line.trust_domain.parse()?, &line.agent)?;
    let server = ServerId::new(own, &line.server)?;
    let subject = line.kind.and_then(Asked::kind).zip(line.name.clone());
    Ok(Observed { agent, server, subject })
}
