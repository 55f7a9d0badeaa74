//! One renewal: a key, a request, an answer, a judgement, a delivery.

mod trust;

use std::path::Path;
use std::sync::Arc;

use countermark_credential::directory::{self, Delivery, DomainCrls, LoadError, LoadedTrust, Writer};
use countermark_credential::{ChainError, Credential, DomainTrust, IssuerError, Revocation, Trust};
use countermark_identity::{Clock, UnixTime};
use countermark_mtls::provider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use self::trust::{NO_BUNDLE, deliver_trust, require_led, verify_trust};
pub(crate) use self::trust::{own_there, take_lists};
use crate::approval::{self, Pending};
use crate::config::CredentialEntry;
use crate::event::Step;
use crate::issuer::{Decision, OwnTrust, Present, Station, Stations, TrustOf, decision, retry_after};
use crate::machine::TrustMark;
use crate::name::{Misnamed, Name};
use crate::request::{Asked, CertificateRequest};
use crate::schedule::{Life, Window};
use crate::sink::{self, Forms};

/// The outcome of a renewal.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) life: Life,
    pub(crate) generation: u64,
    /// The trust material beside it.
    pub(crate) trust: Option<TrustMark>,
    pub(crate) credential: Arc<Credential>,
}

/// At which step it failed, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) cause: String,
    /// How long the issuer asks to be left alone.
    pub(crate) after: Option<std::time::Duration>,
    /// The trust material that is there now, where that may have been switched all the same.
    pub(crate) trust: Option<TrustMark>,
    /// Whether the issuer has taken the request and will answer later.
    pub(crate) pending: bool,
}

impl Failure {
    pub(crate) fn new(step: Step, cause: String) -> Self {
        Self { step, cause, after: None, trust: None, pending: false }
    }

    fn at<E: std::fmt::Display>(step: Step) -> impl FnOnce(E) -> Self {
        move |cause| Self::new(step, cause.to_string())
    }

    /// What an issuer said, and how long it asks to be left alone.
    fn of_issuer(step: Step) -> impl FnOnce(IssuerError) -> Self {
        move |error| Self { after: retry_after(&error), ..Self::new(step, error.to_string()) }
    }

    /// A delivery that ended in the middle: trust material is switched before the credential, and each before it is durable.
    fn of_delivery(entry: &CredentialEntry, cause: String) -> Self {
        Self { trust: TrustMark::of(&entry.directory), ..Self::new(Step::Deliver, cause) }
    }
}

/// Renews one credential. Whatever fails, what was there before still counts.
pub(crate) async fn renew(
    entry: Arc<CredentialEntry>,
    stations: Arc<dyn Stations>,
    clock: Arc<dyn Clock>,
) -> Result<Renewed, Failure> {
    let present = present_of(&entry).await.map_err(Failure::at(Step::Prepare))?;
    // What would stop the delivery is known before a certificate is asked for.
    let beside = Arc::clone(&entry);
    blocking(move || require_partners(&beside)).await.map_err(Failure::at(Step::Prepare))?;
    let asked = request(&entry, &present).await.map_err(Failure::at(Step::Prepare))?;
    let forms = forms(&entry, &asked.key).await.map_err(Failure::at(Step::Prepare))?;
    let station = station(&entry, stations.as_ref(), &present, clock.now(), Step::Issue).await?;
    let chain = match station.issuer.issue(&asked.request.der).await {
        Ok(chain) => chain,
        Err(error) => return Err(unanswered(&entry, &present, asked, error).await),
    };
    let issued = clock.now();
    let own = station.trust.trust().await.map_err(Failure::of_issuer(Step::Trust))?;
    let judged = judge(&entry, &present, chain, asked.key, &own, clock.now());
    if judged.is_err() {
        // What was answered to this request is answered to it again.
        approval::forget(&entry.directory);
    }
    let credential = judged.map_err(Failure::at(Step::Verify))?;
    let issued = Issued { credential, own, trust: station.trust, at: issued };
    let now = clock.now();
    blocking(move || Ok(issued.deliver(&entry, &forms, now))).await.map_err(Failure::at(Step::Deliver))?
}

/// What an issuer answered, judged.
struct Issued {
    credential: Arc<Credential>,
    own: OwnTrust,
    trust: Arc<dyn TrustOf>,
    at: UnixTime,
}

impl Issued {
    fn deliver(self, entry: &CredentialEntry, forms: &Forms, now: UnixTime) -> Result<Renewed, Failure> {
        let Self { credential, own, trust, at } = self;
        let failed = |cause| Failure::of_delivery(entry, cause);
        let writer = Writer::open(&entry.directory, entry.access).map_err(|error| failed(error.to_string()))?;
        // What was in files when it was judged may have been withdrawn since.
        let own = match trust.in_files() {
            Some(own) => {
                let own = own.map_err(Failure::of_issuer(Step::Trust))?;
                verify(&entry.identity, credential.chain(), &own, now).map_err(Failure::at(Step::Verify))?;
                own
            }
            None => own,
        };
        require_led(&writer, entry, &credential, &own.bundle, now)?;
        let OwnTrust { bundle, crls } = own;
        let crls = vec![DomainCrls { trust_domain: bundle.trust_domain().clone(), crls }];
        let delivery = Delivery { credential: Arc::clone(&credential), bundles: vec![bundle], crls };
        let generation = sink::deliver(&writer, entry, &delivery, forms, at).map_err(failed)?.number();
        approval::forget(&entry.directory);
        let trust = TrustMark::of(&entry.directory);
        Ok(Renewed { life: Life::of(credential.leaf(), Some(at)), generation, trust, credential })
    }
}

/// What a refresh found out.
#[derive(Debug)]
pub(crate) struct Refreshed {
    pub(crate) window: Option<Window>,
    /// When to ask again.
    pub(crate) again: std::time::Duration,
    /// The trust material that is there now.
    pub(crate) trust: Option<TrustMark>,
    /// Why nothing is known of a window, although there should be.
    pub(crate) fault: Option<String>,
}

/// Fetches trust and window anew, and delivers the trust if it is another.
pub(crate) async fn refresh(
    entry: Arc<CredentialEntry>,
    stations: Arc<dyn Stations>,
    clock: Arc<dyn Clock>,
) -> Result<Refreshed, Failure> {
    let present = present_of(&entry).await.map_err(Failure::at(Step::Prepare))?;
    let now = clock.now();
    let Some(credential) = present.credential.clone().filter(|held| held.leaf().not_after() >= now) else {
        return Ok(Refreshed { window: None, again: ASK_AGAIN, trust: None, fault: None });
    };
    let station = station(&entry, stations.as_ref(), &present, now, Step::Trust).await?;
    let own = station.trust.trust().await.map_err(Failure::of_issuer(Step::Trust))?;
    let (held, said) = (Arc::clone(&credential), Arc::clone(&station.trust));
    let trust = deliver_trust(entry, move |writer, entry| {
        let own = said.in_files().unwrap_or(Ok(own)).map_err(Failure::of_issuer(Step::Trust))?;
        // What the credential in use does not verify under is not delivered over what it does.
        verify_trust(entry, &held, &own, now).map_err(Failure::at(Step::Verify))?;
        require_led(writer, entry, &held, &own.bundle, now)?;
        Ok(Some(own))
    });
    let trust = trust.await?;
    let none = Refreshed { window: None, again: ASK_AGAIN, trust, fault: None };
    let Some(windows) = &station.windows else { return Ok(none) };
    Ok(match windows.window(&credential).await {
        Ok((window, again)) => Refreshed { window, again, ..none },
        // What was delivered is told all the same.
        Err(error) => {
            Refreshed { fault: Some(error.to_string()), again: retry_after(&error).unwrap_or_default(), ..none }
        }
    })
}

async fn station(
    entry: &CredentialEntry,
    stations: &dyn Stations,
    present: &Present,
    now: UnixTime,
    step: Step,
) -> Result<Station, Failure> {
    stations.station(entry, present, now).await.map_err(Failure::of_issuer(step))
}

/// The request that the issuer has taken already, or a new one.
async fn request(entry: &Arc<CredentialEntry>, present: &Present) -> Result<Pending, String> {
    let (beside, credential) = (Arc::clone(entry), present.credential.clone());
    let pending = blocking(move || Ok(Pending::read(&beside, credential.as_deref()))).await?;
    pending.map_or_else(|| prepare(entry, present).map_err(|error| error.to_string()), Ok)
}

/// What follows when there is no certificate: a request that the issuer has taken is kept, and one that it refused is not.
async fn unanswered(entry: &Arc<CredentialEntry>, present: &Present, asked: Pending, error: IssuerError) -> Failure {
    let (beside, held, decision) = (Arc::clone(entry), present.credential.clone(), decision(&error));
    let kept = blocking(move || match (decision, held) {
        (Decision::Later, Some(held)) => asked.keep(&beside, &held),
        (Decision::No, _) => {
            approval::forget(&beside.directory);
            Ok(())
        }
        _ => Ok(()),
    });
    match kept.await {
        Ok(()) => Failure { pending: decision == Decision::Later, ..Failure::of_issuer(Step::Issue)(error) },
        Err(cause) => Failure::new(Step::Issue, format!("{error}; and the request cannot be kept for that: {cause}")),
    }
}

/// A key, new unless the configuration keeps it, and the request over it.
fn prepare(entry: &CredentialEntry, present: &Present) -> Result<Pending, crate::request::RequestError> {
    let held = present.credential.as_ref();
    let key = match held.filter(|_| entry.reuse_key) {
        Some(held) => held.key().clone_key(),
        None => entry.key.generate()?,
    };
    let asked = match held {
        Some(held) => Asked::again(held.chain().first().map_or(&[][..], |leaf| leaf.as_ref()))?,
        None => Asked::first(&entry.identity.common_name(), entry.identity.sans())?,
    };
    let request = CertificateRequest::new(&key, &asked, &provider())?;
    Ok(Pending { key, request })
}

/// What the further forms of a credential with this key are made with.
async fn forms(entry: &Arc<CredentialEntry>, key: &PrivateKeyDer<'_>) -> Result<Forms, String> {
    let (entry, key) = (Arc::clone(entry), key.clone_key());
    blocking(move || Forms::prepare(&entry, &key)).await
}

/// Holds what came back to what was asked for, with our own verifier and for our own name.
fn judge(
    entry: &CredentialEntry,
    present: &Present,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    own: &OwnTrust,
    now: UnixTime,
) -> Result<Arc<Credential>, String> {
    let credential = Credential::new(chain, key).map_err(|error| error.to_string())?;
    entry.identity.require(credential.leaf()).map_err(|error| format!("the issuer's answer is refused: {error}"))?;
    let again =
        present.credential.as_ref().is_some_and(|held| held.leaf().thumbprint() == credential.leaf().thumbprint());
    if again {
        return Err("the issuer answered with the certificate that is there already".to_owned());
    }
    verify(&entry.identity, credential.chain(), own, now)?;
    Ok(Arc::new(credential))
}

/// Verifies that a chain is of this name, for whatever that will be used for.
pub(crate) fn verify(name: &Name, chain: &[CertificateDer<'_>], own: &OwnTrust, now: UnixTime) -> Result<(), String> {
    judged(name, chain, own, now).map_err(|error| error.to_string())
}

/// Why a chain does not serve.
#[derive(Debug, thiserror::Error)]
enum Verdict {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Name(#[from] Misnamed),
    #[error("{0}")]
    Other(String),
}

fn judged(name: &Name, chain: &[CertificateDer<'_>], own: &OwnTrust, now: UnixTime) -> Result<(), Verdict> {
    let other = |error: &dyn std::fmt::Display| Verdict::Other(error.to_string());
    // Where the issuer gives no lists, whether anybody believes the certificate is decided by those who demand them.
    let revocation = if own.crls.is_empty() { Revocation::DangerNone } else { Revocation::Required };
    let domain = DomainTrust { bundle: own.bundle.clone(), crls: own.crls.clone(), revocation };
    let trust = Trust::new(vec![domain]).map_err(|error| other(&error))?;
    let leaf = chain.first().ok_or_else(|| other(&"there is no certificate"))?;
    let leaf = countermark_identity::Leaf::parse(leaf).map_err(|error| other(&error))?;
    name.require(&leaf)?;
    for usage in name.usages(&leaf)? {
        trust.verify(chain, &leaf, name.trust_domain(), usage, now)?;
    }
    Ok(())
}

/// Whether the trust material of others, which a renewal does not touch, can be read. Which it is, is read when it is delivered.
fn require_partners(entry: &CredentialEntry) -> Result<(), String> {
    let partners = directory::salvage_partners(&entry.directory, entry.identity.trust_domain());
    partners.map(|_| ()).map_err(|error| error.to_string())
}

pub(crate) async fn present_of(entry: &Arc<CredentialEntry>) -> Result<Present, String> {
    let entry = Arc::clone(entry);
    blocking(move || Ok(present(&entry.directory, &entry.identity))).await
}

/// The credential of a directory, if it is named as it should be and stands under the roots beside it. That it is revoked, or that nobody
/// can say so, does not make another out of it.
pub(crate) fn good(entry: &CredentialEntry, now: UnixTime) -> Result<Arc<Credential>, String> {
    let held = directory::read(&entry.directory).map_err(|error| error.to_string())?;
    entry.identity.require(held.credential.leaf()).map_err(|error| error.to_string())?;
    let own = own_there(entry)?.ok_or(NO_BUNDLE)?;
    match judged(&entry.identity, held.credential.chain(), &own, now) {
        Ok(()) => Ok(held.credential),
        Err(Verdict::Chain(
            ChainError::Revoked { .. }
            | ChainError::RevocationUnknown { .. }
            | ChainError::Expired { .. }
            | ChainError::NotYetValid { .. },
        )) => Ok(held.credential),
        Err(error) => Err(error.to_string()),
    }
}

/// What the directory holds that can be used, however somebody may have damaged the rest.
pub(crate) fn present(dir: &Path, name: &Name) -> Present {
    let ours = |held: directory::Held| Some(held.credential).filter(|credential| name.is_of(credential.leaf()));
    let (held, fault) = match directory::read(dir) {
        Ok(held) => match name.require(held.credential.leaf()) {
            Ok(()) => (Some(held.credential), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Err(LoadError::NoCredential { .. }) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let credential = held.or_else(|| {
        let before = generations(dir).into_iter().find_map(|dir| directory::read(&dir).ok().and_then(ours));
        before.inspect(
            |_| tracing::warn!(dir = %dir.display(), "the current generation is unusable; going by an earlier one"),
        )
    });
    let own = |trust: &LoadedTrust| trust.bundles.iter().any(|bundle| bundle.trust_domain() == name.trust_domain());
    let there = directory::load_trust(dir).or_else(|_| directory::load_own_trust(dir, name.trust_domain()));
    // A list that somebody broke costs the lists alone: no root that was withdrawn comes back for it.
    let there = there.or_else(|_| directory::load_own_bundle(dir, name.trust_domain()));
    let trust = there.ok().filter(own).or_else(|| {
        // Each generation keeps the roots that it was delivered with. By them an issuer is known, and they are delivered to nobody.
        generations(dir).into_iter().find_map(|dir| directory::load_trust(&dir).ok().filter(own))
    });
    Present { fault: fault.filter(|_| credential.is_none()), credential, trust: trust.unwrap_or_default() }
}

/// The directories of the generations, the newest first.
fn generations(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir.join("generations")) else { return Vec::new() };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().map(|number| dir.join("generations").join(number.to_string())).collect()
}

/// Runs what waits for the disk where waiting holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(format!("the work broke off: {error}")))
}

const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(3600);
