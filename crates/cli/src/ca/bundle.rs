//! `ca bundle`: what others need to trust this authority.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Outcome},
    files, issuing,
    output::{self, JsonFlag},
};

/// Write the trust bundle: what others need to trust this authority
///
/// On stdout without --out. It holds no secret; who takes it must get it from you and nobody else.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countermark ca bundle --ca ca --out agents.internal.trust-bundle.pem")]
pub(super) struct BundleArgs {
    /// Directory of the authority
    #[arg(long = "ca", visible_alias = "dir", value_name = "DIR")]
    ca: PathBuf,
    /// Write it here, in one rename
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &BundleArgs) -> Outcome<Exit> {
    let authority = issuing::read(&args.ca)?;
    let bundle = issuing::explain(authority.bundle(), "cannot read the trust bundle")?;
    let pem = bundle.to_pem();
    if let Some(out) = &args.out {
        files::replace(out, pem.as_bytes())?;
    }
    if args.json.json {
        let thumbprints: Vec<_> =
            bundle.roots().iter().map(|root| countermark_identity::Thumbprint::of(root).to_hex()).collect();
        output::json(&json!({
            "trust_domain": bundle.trust_domain().as_str(), "sequence": bundle.sequence(),
            "roots": thumbprints, "pem": pem,
        }))?;
    } else if args.out.is_none() {
        output::raw(&pem)?;
    }
    Ok(Exit::Done)
}
