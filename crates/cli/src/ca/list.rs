//! `ca list`: the inventory.

use clap::Args;
use countermark_authority::{CertificateRecord, Filter, State};
use countermark_identity::{Clock, SystemClock};
use serde::Serialize;

use crate::{
    failure::{Exit, Outcome},
    issuing::{self, CaDir},
    output::{self, DIM, JsonFlag, line, styled, table},
    runtime,
};

/// List what was minted
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark ca list --ca ca --json")]
pub(super) struct ListArgs {
    #[command(flatten)]
    ca: CaDir,
    /// Only this agent, server/NAME, admin/NAME, or SPIFFE ID
    #[arg(value_name = "NAME")]
    identity: Option<String>,
    /// Also what has expired
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Row<'a> {
    state: State,
    #[serde(flatten)]
    record: &'a CertificateRecord,
}

pub(super) fn run(args: &ListArgs) -> Outcome<Exit> {
    let now = SystemClock.now();
    let authority = args.ca.read()?;
    let identity = args.identity.as_deref().map(|name| issuing::identity(name, authority.trust_domain()));
    let filter = Filter { identity: identity.transpose()?, alive_at: (!args.all).then_some(now), ..Filter::default() };
    let records =
        runtime::short(async { issuing::explain(authority.list(&filter).await, "cannot read the inventory") })?;
    issuing::warn(&issuing::explain(authority.status(), "cannot read the authority's certificates")?.warnings);
    if args.json.json {
        let rows: Vec<_> = records.iter().map(|record| Row { state: record.state(now), record }).collect();
        output::json(&rows)?;
        return Ok(Exit::Done);
    }
    table(
        ["IDENTITY", "STATE", "EXPIRES", "SERIAL"],
        records.iter().map(|record| {
            let state = record.state(now).to_string();
            [record.identity.to_string(), state, record.not_after.to_string(), record.serial.to_string()]
        }),
    )?;
    if records.is_empty() && !args.all {
        line(styled(DIM, "nothing that still lives; --all shows what has expired"))?;
    }
    Ok(Exit::Done)
}
