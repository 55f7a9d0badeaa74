//! `ca init`: a new authority.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use countermark_authority::{Authority, KeyProtection};
use countermark_identity::{SystemClock, TrustDomain};
use serde_json::json;

use crate::{
    failure::{Exit, Outcome, usage},
    issuing,
    output::{self, JsonFlag, facts, line},
    passphrase::PassphraseArgs,
    progress::Progress,
    runtime,
};

/// Make an authority: root, intermediate, trust bundle, CRLs, inventory, profiles
///
/// The root key is needed again only for `ca renew`: take root.key off this machine when you can.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countermark ca init --dir ca --trust-domain agents.internal --passphrase-file pass"
)]
pub(super) struct InitArgs {
    /// Directory to make
    #[arg(long, value_name = "DIR", visible_alias = "ca")]
    dir: PathBuf,
    /// Trust domain of all its identities, such as agents.internal
    #[arg(long, value_name = "TD")]
    trust_domain: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Write the keys without a passphrase: whoever reads the directory is the authority
    #[arg(long, conflicts_with = "passphrase_file")]
    plaintext_key: bool,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &InitArgs) -> Outcome<Exit> {
    let trust_domain: TrustDomain = args.trust_domain.parse().map_err(|error| {
        usage(format!("--trust-domain `{}`: {error}", args.trust_domain), "write a DNS-like name: agents.internal")
    })?;
    let protection = if args.plaintext_key {
        KeyProtection::Plaintext
    } else {
        KeyProtection::Passphrase(args.passphrase.choose()?)
    };
    let progress = Progress::start("making the authority");
    runtime::short(async {
        let made = Authority::init(&args.dir, &trust_domain, protection, Arc::new(SystemClock)).await;
        issuing::explain(made, format!("cannot make an authority in {}", args.dir.display()))
    })?;
    drop(progress);
    if args.plaintext_key {
        tracing::warn!("the CA keys are not encrypted: whoever reads {} is the authority", args.dir.display());
    }
    let bundle = args.dir.join(format!("{trust_domain}.trust-bundle.pem"));
    if args.json.json {
        output::json(&json!({
            "trust_domain": trust_domain.as_str(),
            "directory": args.dir,
            "trust_bundle": bundle,
            "crl": args.dir.join("crl.pem"),
            "encrypted": !args.plaintext_key,
        }))?;
    } else {
        line(format!("The authority of {trust_domain} is in {}.", args.dir.display()))?;
        facts([
            ("trust bundle", bundle.display().to_string()),
            ("next", format!("countermark mint agent NAME --ca {} --out DIR", args.dir.display())),
        ])?;
    }
    Ok(Exit::Done)
}
