//! `countermark mint`: a certificate for an agent, a server or an administrator, delivered into an
//! identity directory.

mod out;
mod remote;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use countermark_authority::{Authority, Issued, MintRequest, SubjectKey};
use countermark_credential::{Credential, directory};
use countermark_identity::{Role, Serial, SpiffeId, TrustDomain, UnixTime};
use countermark_issue::{KeyPair, KeyType, Profile, to_pem};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

use self::out::{What, require_receptive};
use crate::{
    failure::{Exit, Explain, Outcome, usage},
    files,
    issuing::{self, CaPlace, Material, Place},
    output::{self, JsonFlag, facts, line},
    progress::Progress,
    runtime,
};

/// Mint a certificate for an agent, a server or an administrator
///
/// Writes key, chain, trust bundle and CRLs into --out. Into a directory of the same identity it
/// delivers the next generation, by one rename: whoever reads it follows without a restart. Bundles
/// and CRLs of other trust domains that are in it stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countermark mint agent billing-bot --ca ca --out id/billing-bot\n  \
    countermark mint server ledger --ca ca --out id/ledger --dns ledger.internal --ttl 12h\n  \
    countermark mint agent billing-bot --ca https://ca.internal:8440 --identity id/admin --out id\n  \
    openssl req -new -key key.pem -subj /CN=x -out x.csr && \\\n    \
    countermark mint agent billing-bot --ca ca --csr x.csr --out certs")]
pub(crate) struct MintArgs {
    /// What it is
    #[arg(value_enum)]
    role: RoleArg,
    /// Its name: billing-bot becomes spiffe://TRUST-DOMAIN/agent/billing-bot
    name: String,
    #[command(flatten)]
    ca: CaPlace,
    /// Identity directory to deliver into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// DNS name of a server (may be given several times)
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// IP address of a server (may be given several times)
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// How long it lives [default: the profile's, 1h]
    #[arg(long, value_name = "TIME", value_parser = crate::args::duration)]
    ttl: Option<Duration>,
    /// Sign this request (PEM or DER) instead of making a key: the key never travels
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Kind of key to make: p256, p384, ed25519 or rsa3072 [default: the profile's first]
    #[arg(long, value_name = "KIND", conflicts_with = "csr")]
    key_type: Option<KeyType>,
    /// Profile (TOML) instead of the authority's own for this role; with --ca URL, its name there
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Agent,
    Server,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Agent => Self::Agent,
            RoleArg::Server => Self::Server,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(args: MintArgs) -> Outcome<Exit> {
    match args.ca.place()? {
        Place::Directory(ca) => in_directory(&args, &ca.open()?),
        Place::Remote(remote) => {
            let progress = Progress::start("minting");
            let minted = remote::mint(&args, &remote)?;
            drop(progress);
            tell(&args, &minted)?;
            Ok(Exit::Done)
        }
    }
}

fn identity(args: &MintArgs, domain: &TrustDomain) -> Outcome<SpiffeId> {
    SpiffeId::new(domain, args.role.into(), &args.name)
        .map_err(|error| usage(format!("the name `{}`: {error}", args.name), "write a lower-case word: billing-bot"))
}

fn in_directory(args: &MintArgs, authority: &Authority) -> Outcome<Exit> {
    let identity = identity(args, authority.trust_domain())?;
    let what = if args.csr.is_some() { What::Chain } else { What::Generation };
    require_receptive(&args.out, &identity, what)?;
    if what == What::Generation {
        issuing::require_partners(&args.out, authority.trust_domain())?;
    }
    let _progress = Progress::start("minting");
    let (issued, generation) = match &args.csr {
        Some(file) => (for_request(authority, args, &identity, file)?, None),
        None => for_new_key(authority, args, &identity)?,
    };
    issuing::warn(&issued.warnings);
    let Issued { serial, not_before, not_after, .. } = issued;
    tell(args, &Minted { serial, not_before, not_after, identity, generation })?;
    Ok(Exit::Done)
}

/// What was delivered.
struct Minted {
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
    identity: SpiffeId,
    generation: Option<String>,
}

/// The profile that was named, or the authority's own.
fn profile(authority: &Authority, args: &MintArgs) -> Outcome<Profile> {
    let Some(file) = &args.profile else {
        return authority.profile(args.role.into()).or_failed("cannot use the profile", "");
    };
    let next = format!("start from {}", authority.path().join("profiles").display());
    let text = std::fs::read_to_string(file).or_failed(format!("cannot read the profile {}", file.display()), &next)?;
    Profile::parse(&text).or_failed(format!("cannot use the profile {}", file.display()), &next)
}

/// A key that is made here and never leaves the identity directory.
fn for_new_key(authority: &Authority, args: &MintArgs, identity: &SpiffeId) -> Outcome<(Issued, Option<String>)> {
    let profile = profile(authority, args)?;
    let key_type = args.key_type.unwrap_or_else(|| profile.default_key());
    let key = KeyPair::generate(key_type).or_failed("cannot make a key", "")?;
    let issued = sign(authority, args, &profile, identity, SubjectKey::Public(key.public_key().clone()))?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
    let credential = Credential::new(issued.chain.clone(), private)
        .or_failed("what was minted does not fit its key", "report this: it is a fault of ours")?;
    let generation = issuing::deliver(authority, &args.out, Arc::new(credential))?;
    Ok((issued, Some(generation.to_string())))
}

/// A key that stays where it is: only certificates are written.
fn for_request(authority: &Authority, args: &MintArgs, identity: &SpiffeId, file: &Path) -> Outcome<Issued> {
    let request = std::fs::read(file).or_failed(
        format!("cannot read the request {}", file.display()),
        "make one with `openssl req -new -key KEY`",
    )?;
    let issued = sign(authority, args, &profile(authority, args)?, identity, SubjectKey::Csr(request))?;
    write_chain(&args.out, &issued.chain, &Material::read(authority)?)?;
    Ok(issued)
}

/// A chain without its key, beside what it is trusted by.
fn write_chain(out: &Path, chain: &[CertificateDer<'static>], material: &Material) -> Outcome<()> {
    let next = "check that --out can be written";
    std::fs::create_dir_all(out).or_failed(format!("cannot make {}", out.display()), next)?;
    let td = material.bundle.trust_domain();
    files::replace(&out.join(directory::bundle_name(td)), material.bundle.to_pem().as_bytes())?;
    files::replace(&out.join("ca.crt"), material.bundle.to_pem().as_bytes())?;
    let crls: String = material.crls.crls.iter().map(|crl| crl.to_pem()).collect();
    files::replace(&out.join(directory::crl_name(td)), crls.as_bytes())?;
    let chain: String = chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect();
    files::replace(&out.join("tls.crt"), chain.as_bytes())
}

fn sign(
    authority: &Authority,
    args: &MintArgs,
    profile: &Profile,
    identity: &SpiffeId,
    subject_key: SubjectKey,
) -> Outcome<Issued> {
    let request = MintRequest {
        identity: identity.clone(),
        subject_key,
        ttl: args.ttl,
        dns: args.dns.clone(),
        ip: args.ip.clone(),
    };
    runtime::short(async {
        issuing::explain(authority.mint_with_profile(&request, profile).await, format!("cannot mint {identity}"))
    })
}

fn tell(args: &MintArgs, minted: &Minted) -> Outcome<()> {
    let Minted { serial, not_before, not_after, identity, generation } = minted;
    if args.json.json {
        return output::json(&json!({
            "identity": identity.as_str(), "serial": serial.to_string(),
            "not_before": not_before.to_string(), "not_after": not_after.to_string(),
            "generation": generation, "directory": args.out,
        }));
    }
    let what = generation.as_ref().map_or_else(|| "certificate".to_owned(), |number| format!("generation {number}"));
    line(format!("{what} of {identity} is in {}", args.out.display()))?;
    facts([("serial", serial.to_string()), ("expires", not_after.to_string())])
}
