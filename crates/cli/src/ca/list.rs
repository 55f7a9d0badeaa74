//! `ca list`: the inventory.

use clap::Args;
use countermark_authority::{Authority, CertificateRow, Filter};
use countermark_identity::{Clock, SystemClock};
use serde_json::Value;

use crate::{
    failure::{Exit, Outcome},
    issuing::{self, CaPlace, Place},
    output::{self, DIM, JsonFlag, line, styled, table},
    remote::Remote,
    runtime,
};

/// List what was minted
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  countermark ca list --ca ca --json\n  countermark ca list --ca https://ca.internal:8440 --identity id/admin"
)]
pub(super) struct ListArgs {
    #[command(flatten)]
    ca: CaPlace,
    /// Only this agent, server/NAME, admin/NAME, or SPIFFE ID
    #[arg(value_name = "NAME")]
    identity: Option<String>,
    /// Also what has expired
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &ListArgs) -> Outcome<Exit> {
    let rows = match args.ca.place()? {
        Place::Directory(ca) => in_directory(args, &ca.read()?)?,
        Place::Remote(remote) => runtime::short(from_service(args, &remote))?,
    };
    if args.json.json {
        output::json(&rows)?;
        return Ok(Exit::Done);
    }
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    table(
        ["IDENTITY", "STATE", "EXPIRES", "SERIAL"],
        rows.iter().map(|row| ["identity", "state", "not_after", "serial"].map(|name| text(row, name))),
    )?;
    if rows.is_empty() && !args.all {
        line(styled(DIM, "nothing that still lives; --all shows what has expired"))?;
    }
    Ok(Exit::Done)
}

fn in_directory(args: &ListArgs, authority: &Authority) -> Outcome<Vec<Value>> {
    let now = SystemClock.now();
    let identity = args.identity.as_deref().map(|name| issuing::identity(name, authority.trust_domain()));
    let filter = Filter { identity: identity.transpose()?, alive_at: (!args.all).then_some(now), ..Filter::default() };
    let records =
        runtime::short(async { issuing::explain(authority.list(&filter).await, "cannot read the inventory") })?;
    issuing::warn(&issuing::explain(authority.status(), "cannot read the authority's certificates")?.warnings);
    let row = |row: CertificateRow<'_>| serde_json::to_value(row);
    Ok(records.iter().map(|record| row(record.row(now))).collect::<Result<_, _>>()?)
}

/// Page by page: what is alive ends after now, revoked or not, as the directory's list has it.
async fn from_service(args: &ListArgs, remote: &Remote) -> Outcome<Vec<Value>> {
    let now = SystemClock.now().to_string();
    let identity = args.identity.as_deref().map(|name| issuing::identity(name, remote.trust_domain())).transpose()?;
    let agent = identity.map_or_else(String::new, |identity| format!("&agent={identity}"));
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let mut page = remote.get(&format!("/v1/certificates?limit=1000{agent}{after}"), "cannot list").await?;
        if let Some(Value::Array(found)) = page.get_mut("certificates").map(Value::take) {
            rows.extend(found);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    // Both times are RFC 3339 in UTC, and so in the order of their text.
    rows.retain(|row| args.all || row.get("not_after").and_then(Value::as_str).is_some_and(|end| end >= now.as_str()));
    Ok(rows)
}
