//! `ca revoke`: what was minted is no longer believed.

use clap::Args;
use countermark_authority::{Authority, Filter, Revocation, Target};
use countermark_identity::Serial;
use countermark_issue::RevocationReason;
use serde_json::{Value, json};

use crate::{
    failure::{Exit, Outcome, usage},
    issuing::{self, CaPlace, Place},
    output::{self, JsonFlag, facts, line},
    remote::Remote,
    runtime,
};

/// Revoke a certificate, or all of an identity, and sign a new CRL
///
/// A guard that watches the CRL (--crl CA/crl.pem) ends open connections of whoever is revoked
/// within a second; others learn of it with the next delivery of the CRL. Revoking a NAME also ends its
/// invites that nobody has used; a rule of enrol.toml that names it must be taken out by hand.
/// An intermediate (by its key id, as `ca list --json` shows it as issuer) is revoked by the root, whose key must be
/// in the directory, and everything that it signed with it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  countermark ca revoke --ca ca intern-bot\n  countermark ca revoke --ca ca server/ledger --reason keyCompromise\n  countermark ca revoke --ca ca intermediate/0a1b2c3d --reason keyCompromise\n  countermark ca revoke --ca https://ca.internal:8440 --identity id/admin intern-bot"
)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    ca: CaPlace,
    /// A serial number in hex, an agent's NAME, server/NAME, admin/NAME, a SPIFFE ID, or intermediate/KEYID
    #[arg(value_name = "SERIAL|NAME")]
    what: String,
    /// Why, as the CRL says it
    #[arg(long, default_value_t, value_parser = reason)]
    reason: RevocationReason,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &RevokeArgs) -> Outcome<Exit> {
    let ca = match args.ca.place()? {
        Place::Directory(ca) => ca,
        Place::Remote(remote) => return from_service(args, &remote),
    };
    let authority = ca.open()?;
    if let Some(key_id) = args.what.strip_prefix(INTERMEDIATE) {
        return intermediate(args, &authority, key_id);
    }
    let revocation = runtime::short(async {
        let target = target(&args.what, &authority).await?;
        issuing::explain(authority.revoke(&target, args.reason).await, format!("cannot revoke {}", args.what))
    })?;
    issuing::warn(&revocation.warnings);
    tell(args, &authority, &revocation)?;
    Ok(Exit::Done)
}

/// Revokes an intermediate, by the root.
fn intermediate(args: &RevokeArgs, authority: &Authority, key_id: &str) -> Outcome<Exit> {
    let what = format!("cannot revoke {}", args.what);
    let done = runtime::short(async { issuing::explain(authority.revoke_issuer(key_id, args.reason).await, &what) })?;
    if args.json.json {
        output::json(&json!({
            "intermediate": done.key_id, "since": done.since.to_string(), "certificates": done.certificates,
            "renewed": done.renewed, "crl": authority.crl_path(),
        }))?;
        return Ok(Exit::Done);
    }
    line(format!("revoked intermediate {} and {} certificates that it signed", done.key_id, done.certificates))?;
    if done.renewed {
        line("a new intermediate signs from now on; whoever held one of those certificates mints or enrols anew")?;
    }
    facts([("CRL", authority.crl_path().display().to_string())])?;
    Ok(Exit::Done)
}

fn from_service(args: &RevokeArgs, remote: &Remote) -> Outcome<Exit> {
    if args.what.starts_with(INTERMEDIATE) {
        return Err(usage(
            format!("{} is revoked by the root, whose key no service opens for that", args.what),
            "run `countermark ca revoke --ca DIR` where the authority's directory and root.key are",
        ));
    }
    // The inventory that could tell is elsewhere: what has the length of our serials is one.
    let serial = args.what.len() >= 16 && args.what.parse::<Serial>().is_ok();
    let (kind, target) = if serial {
        ("serial", args.what.clone())
    } else {
        ("agent", issuing::identity(&args.what, remote.trust_domain())?.to_string())
    };
    let body = json!({"reason": args.reason.as_str(), kind: target});
    let what = format!("cannot revoke {}", args.what);
    let answer = runtime::short(async { remote.post("/v1/revocations", &body, &what).await })?;
    if args.json.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let revoked: Vec<&str> =
        answer.get("revoked").and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.as_str()).collect();
    for serial in &revoked {
        line(format!("revoked {serial}"))?;
    }
    if revoked.is_empty() {
        line(format!("nothing of {} was left to revoke", args.what))?;
    }
    facts([("CRL number", answer.get("crl_number").map(Value::to_string).unwrap_or_default())])?;
    Ok(Exit::Done)
}

/// What is meant: whatever looks like a serial and stands in the inventory is one.
async fn target(what: &str, authority: &Authority) -> Outcome<Target> {
    if let Ok(serial) = what.parse::<Serial>() {
        let filter = Filter { serial: Some(serial.clone()), ..Filter::default() };
        let known = issuing::explain(authority.list(&filter).await, "cannot read the inventory")?;
        if !known.is_empty() || what.len() >= 16 {
            return Ok(Target::Serial(serial));
        }
    }
    issuing::identity(what, authority.trust_domain()).map(Target::Identity)
}

fn tell(args: &RevokeArgs, authority: &Authority, revocation: &Revocation) -> Outcome<()> {
    let crl = authority.crl_path();
    if args.json.json {
        return output::json(&json!({
            "revoked": revocation.revoked, "already": revocation.already, "crl": crl,
        }));
    }
    for record in &revocation.revoked {
        line(format!("revoked {} of {}", record.serial, record.identity))?;
    }
    for record in &revocation.already {
        line(format!("{} of {} was revoked before", record.serial, record.identity))?;
    }
    if revocation.revoked.is_empty() && revocation.already.is_empty() {
        line(format!("nothing of {} still lives", args.what))?;
    }
    facts([("CRL", crl.display().to_string())])
}

const INTERMEDIATE: &str = "intermediate/";

fn reason(text: &str) -> Result<RevocationReason, String> {
    text.parse().map_err(|_| {
        let known: Vec<_> = RevocationReason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}
