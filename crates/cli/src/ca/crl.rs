//! `ca crl`: the CRL, signed anew.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Outcome},
    files,
    issuing::{self, CaDir},
    output::{self, JsonFlag, facts, line},
    runtime,
};

/// Sign the CRL anew and write it
///
/// It is good for 7 days; every mint and every revoke signs it, too.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark ca crl --ca ca --out /etc/guard/crl.pem")]
pub(super) struct CrlArgs {
    #[command(flatten)]
    ca: CaDir,
    /// Also write it here, in one rename
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &CrlArgs) -> Outcome<Exit> {
    let authority = args.ca.open()?;
    let report = runtime::short(async { issuing::explain(authority.crl().await, "cannot sign the CRL") })?;
    issuing::warn(&report.warnings);
    if let Some(out) = &args.out {
        let text: String = report.crls.iter().map(countermark_credential::Crl::to_pem).collect();
        files::replace(out, text.as_bytes())?;
    }
    let path = args.out.as_ref().unwrap_or(&report.path);
    if args.json.json {
        output::json(&json!({
            "crl": path, "next_update": report.next_update.to_string(),
            "revoked": report.crls.iter().map(countermark_credential::Crl::len).sum::<usize>(),
        }))?;
    } else {
        line("signed")?;
        facts([("CRL", path.display().to_string()), ("good until", report.next_update.to_string())])?;
    }
    Ok(Exit::Done)
}
