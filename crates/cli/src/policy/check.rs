//! `policy check`: every fault at once.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use clap::Args;
use countermark_authority::Filter;
use countermark_policy::{Finding, Policy, PolicyErrors};
use serde_json::json;

use crate::{
    failure::{Exit, Outcome},
    issuing,
    output::{self, BAD, BOLD, DIM, GOOD, JsonFlag, WARN, line, styled},
    runtime,
};

/// Say everything that is wrong with a policy file, with line, column and remedy
///
/// Exit code 0 when it can be used (warnings are printed), 3 when it cannot.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark policy check policy.toml --ca ca")]
pub(super) struct CheckArgs {
    /// The policy file
    file: PathBuf,
    /// Also warn of agents that this authority never minted
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &CheckArgs) -> Outcome<Exit> {
    let text = super::text(&args.file)?;
    match Policy::parse(&text) {
        Err(errors) => {
            refused(args, &errors, &text)?;
            Ok(Exit::Failed)
        }
        Ok(policy) => {
            usable(args, &policy)?;
            Ok(Exit::Done)
        }
    }
}

fn refused(args: &CheckArgs, errors: &PolicyErrors, text: &str) -> Outcome<()> {
    if args.json.json {
        return output::json(&json!({"usable": false, "errors": errors, "warnings": []}));
    }
    for error in errors {
        let place = format!("{}:{}:{}", args.file.display(), error.line, error.column);
        line(format!("{BOLD}{place}{BOLD:#}: {}: {}", styled(BAD, "error"), error.message()))?;
        let at = usize::try_from(error.line).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(source) = text.lines().nth(at) {
            let column = usize::try_from(error.column).unwrap_or(1).saturating_sub(1);
            line(format!("  {DIM}{:>4} |{DIM:#} {source}", error.line))?;
            line(format!("  {DIM}     |{DIM:#} {}{}", " ".repeat(column.min(200)), styled(BAD, "^")))?;
        }
        line(format!("       {} {}", styled(DIM, "remedy:"), error.remedy()))?;
    }
    Ok(())
}

fn usable(args: &CheckArgs, policy: &Policy) -> Outcome<()> {
    let mut findings = policy.warnings();
    if let Some(ca) = &args.ca {
        findings.extend(unknown(ca, policy)?);
        findings.sort_by_key(|finding| (finding.line, finding.column));
    }
    if args.json.json {
        return output::json(&json!({"usable": true, "errors": [], "warnings": findings}));
    }
    for Finding { line: row, column, warning, .. } in &findings {
        line(format!("{BOLD}{}:{row}:{column}{BOLD:#}: {}: {warning}", args.file.display(), styled(WARN, "warning")))?;
    }
    line(format!("{}: {}", args.file.display(), styled(GOOD, format!("usable, for {}", policy.trust_domain()))))
}

/// Agents that the policy names and the authority never minted.
fn unknown(ca: &Path, policy: &Policy) -> Outcome<Vec<Finding>> {
    let authority = issuing::read(ca)?;
    let records = runtime::short(async {
        issuing::explain(authority.list(&Filter::default()).await, "cannot read the inventory")
    })?;
    let minted: HashSet<_> = records.into_iter().map(|record| record.identity).collect();
    Ok(policy.unknown_agents(|agent| minted.contains(agent.spiffe_id())))
}
