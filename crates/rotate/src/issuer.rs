//! Who turns requests into chains, and who says whom to believe.
//!
//! The seam of issuing is [`Issuer`], of one method. A [`Station`] is what one renewal of one credential works with: the issuer,
//! the trust material of its trust domain, and, where there is one, the window. It is made anew for each renewal from the files as
//! they are, so that no renewal is ever made with a key or a root that was replaced.

mod authority;
mod est;
mod wire;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::directory::LoadedTrust;
use countermark_credential::{Bundle, Credential, Crl, Issuer, IssuerError};
use countermark_identity::{Clock, TrustDomain, UnixTime};

pub(crate) use self::authority::{Base, fetch_crls};
#[cfg(test)]
pub(crate) use self::est::Files;
pub(crate) use self::est::faults;
#[cfg(test)]
pub(crate) use self::wire::WireError;
pub(crate) use self::wire::{Decision, Wire, decision, expected, retry_after};
use crate::config::{CredentialEntry, IssuerKind};
use crate::name::Name;
use crate::schedule::Window;

/// What one renewal works with.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "whoever adds a kind of issuer builds it")]
pub struct Station {
    /// Who signs.
    pub issuer: Arc<dyn Issuer>,
    /// Who says whom to believe.
    pub trust: Arc<dyn TrustOf>,
    /// Who says when to come again; none where nobody does.
    pub windows: Option<Arc<dyn Windows>>,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station").field("windows", &self.windows.is_some()).finish_non_exhaustive()
    }
}

/// An answer that comes later.
pub type Coming<'a, T> = Pin<Box<dyn Future<Output = Result<T, IssuerError>> + Send + 'a>>;

/// Says whom to believe about a trust domain.
pub trait TrustOf: Send + Sync {
    /// The roots and revocation lists of the issuer's own trust domain.
    fn trust(&self) -> Coming<'_, OwnTrust>;

    /// The same, read anew, where it stands in files and the issuer has no word in it; none where the issuer says it. Whoever delivers
    /// asks for it while nobody else delivers: what was withdrawn since an issuer was asked does not come back with its answer.
    fn in_files(&self) -> Option<Result<OwnTrust, IssuerError>> {
        None
    }
}

/// Says when a credential should be renewed.
pub trait Windows: Send + Sync {
    /// The window of this credential, if there is one, and when to ask again.
    fn window<'a>(&'a self, credential: &'a Credential) -> Coming<'a, (Option<Window>, Duration)>;
}

/// Says when an issuer has other revocation lists than before.
pub trait Lists: Send {
    /// The next lists, as soon as there are some; none when a while has passed without.
    fn next(&mut self) -> Coming<'_, Option<Listing>>;
}

/// Revocation lists that an issuer has published.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it, and must say where it is from")]
pub struct Listing {
    /// The lists.
    pub crls: Vec<Arc<Crl>>,
    /// Whether they came from the issuer itself. Each proves itself all the same, but one may have been left out.
    pub verified: bool,
    /// Whether they came by the way that is waited on. Whoever finds others beside it is asked ever more seldom.
    pub polled: bool,
}

impl Listing {
    /// Whether lists that came before it need not be delivered any more. Of what whoever answers gives, one list may have been left out:
    /// it takes the place of no answer of the issuer itself.
    pub(crate) const fn displaces(&self, before: &Self) -> bool {
        self.verified || !before.verified
    }

    /// Whether it says no more than what came before.
    pub(crate) fn is_no_more_than(&self, before: &Self) -> bool {
        self.verified <= before.verified && same_lists(&self.crls, &before.crls)
    }
}

/// Whether these are the same lists in the same order.
fn same_lists(these: &[Arc<Crl>], those: &[Arc<Crl>]) -> bool {
    these.iter().map(|crl| crl.der()).eq(those.iter().map(|crl| crl.der()))
}

/// The trust material of one trust domain.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it is a pair")]
pub struct OwnTrust {
    /// The roots.
    pub bundle: Bundle,
    /// The revocation lists; none where the issuer gives none.
    pub crls: Vec<Arc<Crl>>,
}

/// What an identity directory holds at the beginning of a renewal.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Present {
    /// The credential, expired or not.
    pub credential: Option<Arc<Credential>>,
    /// What is wrong with what is there, where nothing of it can be used.
    pub fault: Option<String>,
    /// The trust material of every trust domain.
    pub trust: LoadedTrust,
}

impl Present {
    /// The roots and lists that it holds of one trust domain.
    #[must_use]
    pub fn own(&self, trust_domain: &TrustDomain) -> Option<OwnTrust> {
        let bundle = self.trust.bundles.iter().find(|bundle| bundle.trust_domain() == trust_domain)?.clone();
        let lists = self.trust.crls.iter().filter(|domain| domain.trust_domain == *trust_domain);
        Some(OwnTrust { bundle, crls: lists.flat_map(|domain| domain.crls.iter().cloned()).collect() })
    }
}

/// Makes stations. The command line puts one in front that also opens a local authority's directory.
pub trait Stations: Send + Sync {
    /// The station for one renewal of a credential.
    fn station<'a>(&'a self, entry: &'a CredentialEntry, present: &'a Present, now: UnixTime) -> Coming<'a, Station>;

    /// Who says that the issuer of a credential has other revocation lists, where somebody does.
    fn lists<'a>(
        &'a self,
        _entry: &'a CredentialEntry,
        _present: &'a Present,
        _now: UnixTime,
    ) -> Coming<'a, Option<Box<dyn Lists>>> {
        Box::pin(async { Ok(None) })
    }
}

/// Stations over the network: our authority, and any EST server.
#[derive(Clone, Debug)]
pub struct Remote {
    clock: Arc<dyn Clock>,
}

impl Remote {
    /// Stations that go by this clock.
    #[must_use]
    pub const fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Stations for Remote {
    fn station<'a>(&'a self, entry: &'a CredentialEntry, present: &'a Present, now: UnixTime) -> Coming<'a, Station> {
        Box::pin(async move {
            match &entry.issuer.kind {
                IssuerKind::Authority { url, server } => {
                    authority::station(url, server.as_ref(), entry, present, Arc::clone(&self.clock), now).await
                }
                IssuerKind::Est { .. } => {
                    est::station(&entry.issuer.kind, entry, present, Arc::clone(&self.clock), now)
                }
                IssuerKind::Directory { path, .. } => {
                    Err(StationError::LocalDirectory { path: path.display().to_string() }.into())
                }
            }
        })
    }

    fn lists<'a>(
        &'a self,
        entry: &'a CredentialEntry,
        present: &'a Present,
        now: UnixTime,
    ) -> Coming<'a, Option<Box<dyn Lists>>> {
        Box::pin(async move {
            let IssuerKind::Authority { url, server } = &entry.issuer.kind else { return Ok(None) };
            let lists = authority::lists(url, server.as_ref(), entry, present, Arc::clone(&self.clock), now).await?;
            Ok(Some(Box::new(lists) as Box<dyn Lists>))
        })
    }
}

/// Why there is nobody to ask.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StationError {
    /// A directory is opened by the command line alone.
    #[error("the authority in {path} can only be opened by `countermark rotate`")]
    LocalDirectory {
        /// Where.
        path: String,
    },
    /// A credential that proves nothing any more.
    #[error("the certificate in {directory} expired at {not_after}, and its issuer renews none that has; {}", anew(*issued_here, directory, credential))]
    Expired {
        /// Which credential.
        credential: Arc<str>,
        /// Where it is.
        directory: String,
        /// When it ended.
        not_after: UnixTime,
        /// Whether it is one that an authority of ours can sign.
        issued_here: bool,
    },
    /// Nothing to prove with who one is.
    #[error("there is no credential in {directory} to renew; {}", first(*issued_here))]
    NoCredential {
        /// Where it should be.
        directory: String,
        /// Whether it is one that an authority of ours can sign.
        issued_here: bool,
    },
    /// Something is there, and is no credential.
    #[error("the credential in {directory} cannot be used: {fault}")]
    Unusable {
        /// Where it is.
        directory: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Nothing by which to know the issuer.
    #[error("there is no trust bundle of {trust_domain} in {directory} by which to know the issuer")]
    NoTrust {
        /// Whose.
        trust_domain: TrustDomain,
        /// Where it should be.
        directory: String,
    },
}

impl StationError {
    fn no_trust(trust_domain: &TrustDomain, directory: &Path) -> Self {
        Self::NoTrust { trust_domain: trust_domain.clone(), directory: directory.display().to_string() }
    }

    /// Why there is no credential to renew by: none, one that cannot be used, or one that has expired.
    fn no_credential(entry: &CredentialEntry, present: &Present) -> Self {
        let issued_here = matches!(entry.identity, Name::Spiffe(_));
        let directory = entry.directory.display().to_string();
        match (&present.credential, &present.fault) {
            (Some(over), _) => {
                let (credential, not_after) = (Arc::clone(&entry.name), over.leaf().not_after());
                Self::Expired { credential, directory, not_after, issued_here }
            }
            (None, Some(fault)) => Self::Unusable { directory, fault: fault.clone() },
            (None, None) => Self::NoCredential { directory, issued_here },
        }
    }
}

/// What follows an expired credential.
fn anew(issued_here: bool, directory: &str, credential: &str) -> String {
    if issued_here {
        return "enrol it anew with `countermark join` or `countermark mint`".to_owned();
    }
    format!(
        "enrol it anew with its issuer, write key, certificate and intermediates, in this order, to {directory}/credential-bundle.pem, \
         and have the other files made with `countermark ctl renew {credential}`"
    )
}

/// Where the first credential comes from.
const fn first(issued_here: bool) -> &'static str {
    if issued_here {
        "make the first one with `countermark join` or `countermark mint`"
    } else {
        "enrol the first one with its issuer, and put key and chain there as tls.key (0600) and tls.crt (the leaf first, then the \
         intermediates)"
    }
}
