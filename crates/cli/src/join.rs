//! `countermark join`: from an invite or a token to an identity directory.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use countermark_identity::{Clock, Secret, SystemClock, Thumbprint};
use countermark_rotate::enrol::{self, EnrolError, Enrolment, Entitlement, Invite, Root, authority_url};
use countermark_rotate::request::KeyKind;
use serde_json::json;

use crate::{
    failure::{Exit, Explain, Outcome, usage},
    output::{self, JsonFlag, facts, line},
    progress::Progress,
    runtime,
};

/// Enrol with an authority: from an invite or a token to an identity directory
///
/// The key is made here and never leaves. Nothing secret is sent before the authority has proved that
/// its root is the pinned one. A lost answer is asked for again with the same key: run it once more.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  countermark join --invite billing-bot.invite --out /var/lib/countermark/billing-bot\n  \
    countermark join --jwt /var/run/secrets/tokens/countermark --url https://ca.internal:8443 \\\n    \
    --root-sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --out id"
)]
pub(crate) struct JoinArgs {
    /// Invite, from `countermark ca invite`
    #[arg(long, value_name = "FILE", required_unless_present = "jwt", conflicts_with_all = ["jwt", "url", "root_sha256", "bundle"])]
    invite: Option<PathBuf>,
    /// File with a token of an issuer that the authority knows, such as a Kubernetes service account's
    #[arg(long, value_name = "FILE", requires = "url")]
    jwt: Option<PathBuf>,
    /// The authority: https://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// SHA-256 of the authority's root certificate, in hex
    #[arg(long, value_name = "HEX", conflicts_with = "bundle")]
    root_sha256: Option<String>,
    /// The authority's trust bundle (PEM), instead of the hash
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Identity directory to deliver into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Kind of key to make: p256, p384 or ed25519
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = key_kind)]
    key_type: KeyKind,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(args: JoinArgs) -> Outcome<Exit> {
    let enrolment = Enrolment { key: args.key_type, ..enrolment(&args)? };
    let _progress = Progress::start("enrolling");
    let enrolled = runtime::short(async {
        let joined = enrol::join(enrolment, Arc::new(SystemClock)).await;
        let next = joined.as_ref().err().map_or("", next_step);
        joined.or_failed("nothing was delivered", next)
    })?;
    let leaf = enrolled.credential.leaf();
    if args.json.json {
        output::json(&json!({
            "identity": enrolled.identity.as_str(), "serial": leaf.serial().to_string(),
            "not_before": leaf.not_before().to_string(), "not_after": leaf.not_after().to_string(),
            "generation": enrolled.generation.to_string(), "directory": args.out,
        }))?;
    } else {
        line(format!("generation {} of {} is in {}", enrolled.generation, enrolled.identity, args.out.display()))?;
        facts([("serial", leaf.serial().to_string()), ("expires", leaf.not_after().to_string())])?;
    }
    Ok(Exit::Done)
}

fn enrolment(args: &JoinArgs) -> Outcome<Enrolment> {
    if let Some(file) = &args.invite {
        let text = read(file, "the invite")?;
        let invite = Invite::parse(text.expose(), SystemClock.now())
            .or_failed(format!("{} is no invite", file.display()), "get another from `countermark ca invite`")?;
        return Ok(Enrolment::by_invite(invite, args.out.clone()));
    }
    let (Some(jwt), Some(url)) = (&args.jwt, &args.url) else {
        return Err(usage(
            "neither an invite nor a token is given",
            "give --invite FILE, or --jwt FILE with --url URL",
        ));
    };
    let root = match (&args.root_sha256, &args.bundle) {
        (Some(hex), _) => Root::Pinned(
            Thumbprint::from_hex(hex)
                .map_err(|error| usage(format!("--root-sha256: {error}"), "write 64 hex digits"))?,
        ),
        (None, Some(file)) => {
            Root::Bundle(std::fs::read(file).or_failed(format!("cannot read the bundle {}", file.display()), "")?)
        }
        (None, None) => {
            return Err(usage(
                "nothing says which root the authority must have",
                "give --root-sha256 HEX (`countermark ca bundle` shows it) or --bundle FILE",
            ));
        }
    };
    let url = authority_url(url).map_err(|error| usage(error.to_string(), ""))?;
    let secret = Entitlement::Jwt(read(jwt, "the token")?);
    Ok(Enrolment { url, server: None, identity: None, root, secret, key: KeyKind::default(), out: args.out.clone() })
}

/// A file with a secret in it.
fn read(file: &std::path::Path, what: &str) -> Outcome<Secret<String>> {
    std::fs::read_to_string(file).map(Secret::new).or_failed(format!("cannot read {what} {}", file.display()), "")
}

fn key_kind(text: &str) -> Result<KeyKind, String> {
    KeyKind::parse(text).ok_or_else(|| format!("`{text}` is no kind of key; write p256, p384 or ed25519"))
}

const fn next_step(error: &EnrolError) -> &'static str {
    match error {
        EnrolError::Refused(_) => {
            "an invite holds once and for a short time: run it again if an answer may have been lost, else ask for another"
        }
        EnrolError::Unreachable(_) | EnrolError::Lists(_) => "check the URL, and that the authority runs",
        EnrolError::OtherRoot { .. } | EnrolError::Authority(_) => {
            "somebody else may be answering there: check the URL and the pin with whoever runs the authority"
        }
        EnrolError::Delivery(_) | EnrolError::Directory { .. } => "mend that; then run it again, the key is kept",
        _ => "",
    }
}
