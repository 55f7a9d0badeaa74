//! Opening an authority: the directory, the passphrase, the names. `ca`, `mint` and `quickstart`
//! alone come here.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use countermark_authority::{Authority, AuthorityError, Warning};
use countermark_credential::{
    Bundle, Credential,
    directory::{self, Access, Delivery, DomainCrls, Generation, LoadError, Manner},
};
use countermark_identity::{Clock, Role, SpiffeId, SystemClock, TrustDomain};
use countermark_issue::SealError;
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Explain, Outcome, usage},
    passphrase::PassphraseArgs,
    remote::Remote,
};

/// Which authority, and how its keys are opened.
#[derive(Debug, Clone, Args)]
pub(crate) struct CaDir {
    /// Directory of the authority, from `countermark ca init`
    #[arg(long = "ca", visible_alias = "dir", value_name = "DIR")]
    pub(crate) ca: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

impl CaDir {
    /// Opens it for signing.
    pub(crate) fn open(&self) -> Outcome<Authority> {
        let sealed = explain(Authority::needs_passphrase(&self.ca), self.what())?;
        let passphrase = sealed.then(|| self.passphrase.open()).transpose()?;
        explain(Authority::open(&self.ca, passphrase, Arc::new(SystemClock)), self.what())
    }

    /// Opens it for reading: no key is touched, no passphrase asked for.
    pub(crate) fn read(&self) -> Outcome<Authority> {
        read(&self.ca)
    }

    fn what(&self) -> String {
        format!("cannot open the authority in {}", self.ca.display())
    }
}

/// Which authority, in a directory of this machine or at a URL.
#[derive(Debug, Clone, Args)]
pub(crate) struct CaPlace {
    /// Directory of the authority, or its URL (https://HOST:PORT) together with --identity
    #[arg(long = "ca", visible_alias = "dir", value_name = "DIR|URL")]
    ca: PathBuf,
    /// With --ca URL: identity directory of an administrator, from `countermark mint admin`
    #[arg(long = "identity", id = "admin_identity", value_name = "DIR")]
    identity: Option<PathBuf>,
    /// With --ca URL: the name of the authority, which is /server/NAME
    #[arg(long = "authority", value_name = "NAME", default_value = "authority")]
    server: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// An authority, wherever it is.
#[derive(Debug)]
pub(crate) enum Place {
    Directory(CaDir),
    Remote(Box<Remote>),
}

impl CaPlace {
    pub(crate) fn place(&self) -> Outcome<Place> {
        let url = self.ca.to_str().filter(|text| text.contains("://"));
        match (url, &self.identity) {
            (None, None) => Ok(Place::Directory(CaDir { ca: self.ca.clone(), passphrase: self.passphrase.clone() })),
            (None, Some(_)) => Err(usage(
                format!("--identity goes with a URL, and --ca {} is a directory", self.ca.display()),
                "write --ca https://HOST:PORT, or leave --identity out",
            )),
            (Some(url), _) if !url.starts_with("https://") => {
                Err(usage(format!("--ca {url} is no https URL"), "write --ca https://HOST:PORT"))
            }
            (Some(url), None) => Err(usage(
                format!("--ca {url} takes the certificate of an administrator"),
                "add --identity DIR, from `countermark mint admin NAME --ca DIR`",
            )),
            (Some(url), Some(identity)) => Ok(Place::Remote(Box::new(Remote::open(url, identity, &self.server)?))),
        }
    }
}

/// Where `ca serve` notes in the authority's directory how it is reached.
pub(crate) const SERVICE_FILE: &str = "service.toml";

/// How an authority is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) authority: String,
}

/// Puts what was attempted before an authority's error, and the next step behind it.
pub(crate) fn explain<T>(result: Result<T, AuthorityError>, what: impl Into<String>) -> Outcome<T> {
    let next = result.as_ref().err().map_or("", next_step);
    result.or_failed(what, next)
}

fn next_step(error: &AuthorityError) -> &'static str {
    match error {
        AuthorityError::Io { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => {
                "run it as the owner of the authority's directory, or mend its owner and mode"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space; what was there before still counts",
            ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only",
            ErrorKind::NotFound => {
                "restore the directory from a backup, or make a new authority with `countermark ca init`"
            }
            _ => "check the directory and its file system",
        },
        AuthorityError::Key { source: SealError::WrongPassphrase, .. } => {
            "try again with the right one; it cannot be recovered, but a new authority can be made"
        }
        AuthorityError::NotEmpty(_) => "give a new directory; an authority is never overwritten",
        AuthorityError::Store(_) => {
            "check the space and the mode of the directory, and that nobody else writes inventory.sqlite"
        }
        AuthorityError::Sign(_) => "see `countermark mint --help`, and the profile in the authority's directory",
        AuthorityError::Csr(_) => "make the request with `openssl req -new -key KEY -subj /CN=x`",
        _ => "",
    }
}

/// Opens an authority for reading.
pub(crate) fn read(ca: &Path) -> Outcome<Authority> {
    explain(Authority::open(ca, None, Arc::new(SystemClock)), format!("cannot open the authority in {}", ca.display()))
}

/// The roots and lists of an authority's own trust domain.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    pub(crate) bundle: Bundle,
    pub(crate) crls: DomainCrls,
}

impl Material {
    /// As the authority's directory has them now.
    pub(crate) fn read(authority: &Authority) -> Outcome<Self> {
        let bundle = explain(authority.bundle(), "cannot read the trust bundle")?;
        let crls = explain(authority.crls(), "cannot read the CRL")?.into_iter().map(Arc::new).collect();
        Ok(Self { bundle, crls: DomainCrls { trust_domain: authority.trust_domain().clone(), crls } })
    }
}

/// Delivers a credential with this authority's bundle and CRLs.
pub(crate) fn deliver(authority: &Authority, out: &Path, credential: Arc<Credential>) -> Outcome<Generation> {
    deliver_with(out, credential, || Material::read(authority))
}

/// Delivers a credential with the newest of an authority's material: the next generation of the directory. What it holds
/// of other trust domains when it is written to stays: federation is nothing that a renewal may end, or bring back.
pub(crate) fn deliver_with(
    out: &Path,
    credential: Arc<Credential>,
    newest: impl Fn() -> Outcome<Material>,
) -> Outcome<Generation> {
    let Material { bundle, crls } = newest()?;
    require_partners(out, bundle.trust_domain())?;
    let mut delivered = text(&crls);
    let delivery = Delivery { credential, bundles: vec![bundle], crls: vec![crls] };
    let manner = Manner { keeps_partners: true, ..Manner::default() };
    let generation = directory::deliver_as(out, &delivery, &manner, SystemClock.now());
    let generation = generation.or_failed("nothing was delivered", "")?;
    // Whoever delivers last has looked last: two mints at once do not leave the older of their CRLs.
    for _ in 0..OVERTAKEN {
        let Material { bundle, crls } = newest()?;
        let newest = text(&crls);
        if newest == delivered {
            break;
        }
        let done = directory::Writer::open(out, Access::default())
            .and_then(|writer| writer.deliver_own_trust(bundle, crls.crls));
        done.or_failed("the CRL was not delivered", "")?;
        delivered = newest;
    }
    Ok(generation)
}

fn text(lists: &DomainCrls) -> String {
    lists.crls.iter().map(|crl| crl.to_pem()).collect()
}

/// How often a delivery looks again; each time, another mint or revocation came in between.
const OVERTAKEN: u32 = 16;

/// Refuses an identity directory with trust material of other trust domains that cannot be read; there may be no directory yet.
pub(crate) fn require_partners(out: &Path, own: &TrustDomain) -> Outcome<()> {
    match directory::load_partners(out, own) {
        Ok(_) | Err(LoadError::TrustGone { .. }) => Ok(()),
        Err(LoadError::Io { path, source })
            if source.kind() == ErrorKind::NotFound && (path == out || path == out.join("trust")) =>
        {
            Ok(())
        }
        Err(error) => {
            let what = format!("{} holds trust material that cannot be read", out.display());
            Err(error).or_failed(what, "mend or remove that file; nothing was delivered")
        }
    }
}

/// What an authority says beside what it does goes to the log.
pub(crate) fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// `agent/NAME`, `server/NAME`, `admin/NAME`, a bare agent's NAME, or a full SPIFFE ID of `trust_domain`.
pub(crate) fn identity(text: &str, trust_domain: &TrustDomain) -> Outcome<SpiffeId> {
    let wrong = |cause: String| {
        usage(format!("`{text}` names no identity: {cause}"), "write agent/NAME, server/NAME, admin/NAME or spiffe://…")
    };
    if text.starts_with("spiffe://") {
        let id: SpiffeId = text.parse().map_err(|error| wrong(format!("{error}")))?;
        if id.trust_domain() != trust_domain {
            return Err(wrong(format!("this authority is of {trust_domain}")));
        }
        return Ok(id);
    }
    let (role, name) = text.split_once('/').unwrap_or(("agent", text));
    let role: Role = role.parse().map_err(|error| wrong(format!("{error}")))?;
    SpiffeId::new(trust_domain, role, name).map_err(|error| wrong(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use countermark_testkit::TestCa;

    use super::*;

    /// A partner that somebody withdraws while a certificate is delivered does not come back with it.
    #[test]
    fn a_delivery_brings_back_nobody_who_was_withdrawn_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("id");
        let (ca, partner) = (TestCa::new("agents.internal"), TestCa::new("partner.example"));
        let lists = std::cell::RefCell::new(ca.crls());
        let own = || DomainCrls { trust_domain: ca.trust_domain().clone(), crls: lists.borrow().clone() };
        let material = || Ok(Material { bundle: ca.bundle(), crls: own() });
        deliver_with(&out, ca.agent("billing-bot"), material).unwrap();
        let known = || directory::load_trust(&out).unwrap().bundles.len();
        // Before the delivery, and before each look whether its list is still the newest.
        for withdrawn_at in 0..3 {
            directory::deliver_trust(&out, &[ca.bundle(), partner.bundle()], &[own()]).unwrap();
            let looks = std::cell::Cell::new(0);
            let newest = || {
                if looks.get() == withdrawn_at {
                    directory::deliver_trust(&out, &[ca.bundle()], &[own()]).unwrap();
                }
                looks.set(looks.get() + 1);
                if looks.get() < 4 {
                    lists.replace(ca.crls());
                }
                material()
            };
            deliver_with(&out, ca.agent("billing-bot"), newest).unwrap();
            assert_eq!((looks.get(), known()), (4, 1), "{withdrawn_at}");
            let list = &directory::load_trust(&out).unwrap().crls[0];
            assert_eq!(text(list), text(&own()));
        }
    }

    #[test]
    fn names_and_ids() {
        let td: TrustDomain = "agents.internal".parse().unwrap();
        let id = |text| identity(text, &td).map(|id| id.to_string());
        assert_eq!(id("billing-bot").unwrap(), "spiffe://agents.internal/agent/billing-bot");
        assert_eq!(id("server/ledger").unwrap(), "spiffe://agents.internal/server/ledger");
        assert!(id("spiffe://other/agent/x").is_err());
        assert!(id("robot/x").is_err());
        assert!(id("").is_err());
    }
}
