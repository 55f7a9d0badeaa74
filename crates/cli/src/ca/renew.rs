//! `ca renew`: a new intermediate under the same root.

use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Outcome},
    issuing::{self, CaDir},
    output::{self, JsonFlag, facts, line},
    runtime,
};

/// Renew the intermediate: new key, same root
///
/// Needs root.key in the directory, for as long as it takes. What the old one signed stays good.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark ca renew --ca ca")]
pub(super) struct RenewArgs {
    #[command(flatten)]
    ca: CaDir,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &RenewArgs) -> Outcome<Exit> {
    let authority = args.ca.open()?;
    let renewal = runtime::short(async {
        issuing::explain(authority.renew_intermediate().await, "cannot renew the intermediate")
    })?;
    issuing::warn(&renewal.warnings);
    if args.json.json {
        let thumbprint = countermark_identity::Thumbprint::of(&renewal.certificate).to_hex();
        output::json(&json!({"ends": renewal.ends.to_string(), "thumbprint": thumbprint}))?;
    } else {
        line("renewed")?;
        facts([("good until", renewal.ends.to_string())])?;
    }
    Ok(Exit::Done)
}
