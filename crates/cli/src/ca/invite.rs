//! `ca invite`: a one-time secret that enrols one identity.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use countermark_authority::{Authority, InviteRequest};
use countermark_identity::{Role, SpiffeId};
use serde_json::json;

use crate::{
    failure::{Exit, Explain, Outcome, failed, usage},
    files,
    issuing::{self, CaPlace, Place, SERVICE_FILE, Served},
    output::{self, JsonFlag, facts, line},
    remote::Remote,
    runtime,
};

/// Invite an agent or a server: write a one-time secret that enrols it
///
/// Hand the file to whoever is invited, and to nobody else: the first key that redeems it gets the
/// certificate. The authority keeps only its hash.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countermark ca invite agent billing-bot --ca ca --out billing-bot.invite\n  \
    countermark ca invite server db --ca https://ca.internal:8440 --identity id/admin --out f")]
pub(super) struct InviteArgs {
    /// What it is
    #[arg(value_enum)]
    role: InvitedRole,
    /// Its name: billing-bot becomes spiffe://TRUST-DOMAIN/agent/billing-bot
    name: String,
    #[command(flatten)]
    ca: CaPlace,
    /// Where the authority serves, with --ca DIR [default: where it served last]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long the invite can be redeemed
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::args::duration)]
    valid_for: Duration,
    /// File to write, readable by you alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// DNS name of a server (may be given several times)
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// IP address of a server (may be given several times)
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// How long its certificates live [default: the profile's, 1h]
    #[arg(long, value_name = "TIME", value_parser = crate::args::duration)]
    ttl: Option<Duration>,
    /// Name of a profile in the authority's profiles/ [default: that of the role]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum InvitedRole {
    Agent,
    Server,
}

impl From<InvitedRole> for Role {
    fn from(role: InvitedRole) -> Self {
        match role {
            InvitedRole::Agent => Self::Agent,
            InvitedRole::Server => Self::Server,
        }
    }
}

/// What was made.
struct Made {
    id: String,
    expires: String,
    text: countermark_identity::Secret<String>,
}

pub(super) fn run(args: &InviteArgs) -> Outcome<Exit> {
    let made = match args.ca.place()? {
        Place::Directory(ca) => in_directory(args, &ca.read()?)?,
        Place::Remote(remote) => from_service(args, &remote)?,
    };
    files::replace_private(&args.out, made.text.expose().as_bytes())?;
    if args.json.json {
        output::json(&json!({"id": made.id, "expires": made.expires, "file": args.out}))?;
    } else {
        line(format!("The invite is in {}; whoever reads it may enrol.", args.out.display()))?;
        facts([
            ("expires", made.expires),
            ("next", format!("countermark join --invite {} --out DIR", args.out.display())),
        ])?;
    }
    Ok(Exit::Done)
}

fn in_directory(args: &InviteArgs, authority: &Authority) -> Outcome<Made> {
    let role: Role = args.role.into();
    let identity = SpiffeId::new(authority.trust_domain(), role, &args.name)
        .map_err(|error| usage(format!("the name `{}`: {error}", args.name), "write a lower-case word: billing-bot"))?;
    let served = served(args, authority)?;
    let request = InviteRequest {
        identity,
        profile: args.profile.clone(),
        ttl: args.ttl,
        dns: args.dns.clone(),
        ip: args.ip.clone(),
        valid_for: args.valid_for,
        url: served.url,
        authority: served.authority.parse().or_failed("the authority's name is no SPIFFE ID", "give --url again")?,
    };
    runtime::short(async {
        let invite = issuing::explain(authority.invite(&request, "the command line").await, "cannot invite")?;
        Ok(Made { id: invite.id, expires: invite.expires.to_string(), text: invite.text })
    })
}

/// Where the authority serves: what was typed, or what `ca serve` left in its directory.
fn served(args: &InviteArgs, authority: &Authority) -> Outcome<Served> {
    let file = authority.path().join(SERVICE_FILE);
    let left: Option<Served> = std::fs::read_to_string(&file).ok().and_then(|text| toml::from_str(&text).ok());
    let domain = authority.trust_domain();
    let named = |left: Option<Served>| {
        left.map_or_else(|| format!("spiffe://{domain}/server/authority"), |left| left.authority)
    };
    match (&args.url, left) {
        (Some(url), left) if url.starts_with("https://") => {
            Ok(Served { url: url.trim_end_matches('/').to_owned(), authority: named(left) })
        }
        (Some(url), _) => Err(usage(format!("--url {url} is no https URL"), "write --url https://HOST:PORT")),
        (None, Some(left)) => Ok(left),
        (None, None) => Err(failed(
            "nobody knows where this authority serves",
            "give --url https://HOST:PORT, or start it once with `countermark ca serve`",
        )),
    }
}

fn from_service(args: &InviteArgs, remote: &Remote) -> Outcome<Made> {
    let role: Role = args.role.into();
    let body = json!({
        "role": role.as_str(), "name": args.name, "profile": args.profile, "dns": args.dns, "ip": args.ip,
        "ttl": args.ttl.map(|ttl| format!("{}s", ttl.as_secs())), "valid_for": format!("{}s", args.valid_for.as_secs()),
    });
    let mut answer = runtime::short(async { remote.post("/v1/invites", &body, "cannot invite").await })?;
    let mut text = |name: &str| match answer.get_mut(name).map(serde_json::Value::take) {
        Some(serde_json::Value::String(text)) => Ok(text),
        _ => Err(failed(format!("the authority's answer lacks `{name}`"), "check that both are of one version")),
    };
    Ok(Made { id: text("id")?, expires: text("expires")?, text: text("invite")?.into() })
}
