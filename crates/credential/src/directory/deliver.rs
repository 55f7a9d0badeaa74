//! Delivering a credential: its next generation, switched by one rename.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use countermark_identity::{Leaf, Secret, TrustDomain, UnixTime};

use super::access::Access;
use super::error::{DeliveryError, LoadError};
use super::lock::Lock;
use super::names::{CA_CRT, CREDENTIAL_BUNDLE, CURRENT, GENERATIONS, TLS_CRT, TLS_KEY, bundle_name};
use super::switch::{Files, Switch};
use super::writer::Writer;
use super::{Delivery, Generation, disk, load, newer, partners, trust};
use crate::bundle::Bundle;

/// Delivers a credential and its trust material to `dir`, which becomes or already is the directory of that identity.
///
/// The trust material is switched first, so that nobody finds a credential that the roots beside it do not know. Generations
/// whose certificate has expired at `now` are removed, as is what a delivery that was cut off left behind.
pub fn deliver(dir: &Path, delivery: &Delivery, now: UnixTime) -> Result<Generation, DeliveryError> {
    deliver_as(dir, delivery, &Manner::default(), now)
}

/// How a delivery is written.
#[derive(Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers build it; its default is what `deliver` does")]
pub struct Manner {
    /// For whom.
    pub access: Access,
    /// Files that stand beside the usual ones and switch with them.
    pub extras: Vec<Extra>,
    /// Whether a credential that cannot be read is replaced, instead of refusing a directory whose owner is not known. For those
    /// who know by other means whose directory it is; another identity's is refused all the same.
    pub mends: bool,
    /// Whether bundles and revocation lists that are there already stay where those that are delivered are older; of bundles, where both
    /// have a sequence.
    pub keeps_newer: bool,
    /// Whether the trust material of other trust domains than the credential's own stays as it is there when the directory is
    /// written to, whatever is delivered of it. What somebody broke of it stays as it was before.
    pub keeps_partners: bool,
    /// Whose roots vouch for a credential without a SPIFFE ID, which says it itself; without it, such a credential is refused.
    pub trust_domain: Option<TrustDomain>,
}

/// Another form of the same credential, for programs that want one.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it; it is a pair")]
pub struct Extra {
    /// The file's name; a plain one.
    pub name: &'static str,
    /// What is in it.
    pub content: Secret<Vec<u8>>,
}

/// As [`deliver`], for other readers or in further forms.
///
/// # Errors
/// As [`deliver`].
pub fn deliver_as(
    dir: &Path,
    delivery: &Delivery,
    manner: &Manner,
    now: UnixTime,
) -> Result<Generation, DeliveryError> {
    own_bundle(delivery, &own_domain(delivery, manner)?)?;
    Writer::open(dir, manner.access)?.deliver_as(delivery, manner, now)
}

impl Writer {
    /// As [`deliver_as`](super::deliver_as).
    ///
    /// # Errors
    /// As [`deliver`](super::deliver).
    pub fn deliver_as(&self, delivery: &Delivery, manner: &Manner, now: UnixTime) -> Result<Generation, DeliveryError> {
        let (dir, access) = (self.dir.as_path(), manner.access);
        let own = own_domain(delivery, manner)?;
        require_identity(dir, delivery.credential.leaf(), manner.mends)?;
        let mut delivery = Cow::Borrowed(delivery);
        if manner.keeps_partners {
            let Delivery { credential, bundles, crls } = delivery.as_ref();
            let (bundles, crls) = partners::beside(dir, &own, bundles, crls)?;
            delivery = Cow::Owned(Delivery { credential: Arc::clone(credential), bundles, crls });
        }
        if manner.keeps_newer {
            let Delivery { credential, bundles, crls } = delivery.as_ref();
            let (bundles, crls) = newer::or_those_there(dir, bundles, crls, credential.chain());
            delivery = Cow::Owned(Delivery { credential: Arc::clone(credential), bundles, crls });
        }
        let own_bundle = own_bundle(&delivery, &own)?;
        trust::switch(dir, &delivery.bundles, &delivery.crls, Some(&own), access)?;
        let switch = Switch::new(dir, GENERATIONS).for_access(access);
        switch.sweep(|path| is_over(path, now));
        let number = advance(switch, &delivery, own_bundle, &manner.extras)?;
        link_stable_names(dir, &manner.extras)?;
        Ok(Generation(number))
    }
}

/// Whose roots vouch for the credential.
fn own_domain(delivery: &Delivery, manner: &Manner) -> Result<TrustDomain, DeliveryError> {
    let own = delivery.credential.spiffe_id().map(|id| id.trust_domain()).or(manner.trust_domain.as_ref());
    own.cloned().ok_or(DeliveryError::NoSpiffeId)
}

/// The bundle of the credential's own trust domain.
fn own_bundle<'a>(delivery: &'a Delivery, own: &TrustDomain) -> Result<&'a Bundle, DeliveryError> {
    let bundle = delivery.bundles.iter().find(|bundle| bundle.trust_domain() == own);
    bundle.ok_or_else(|| DeliveryError::NoOwnBundle { trust_domain: own.clone() })
}

/// Removes what deliveries that were cut off left in `dir`, and generations whose certificate has expired at `now`.
///
/// # Errors
/// The directory cannot be locked.
pub fn sweep(dir: &Path, now: UnixTime) -> Result<(), DeliveryError> {
    let _lock = Lock::acquire(dir)?;
    let switch = Switch::new(dir, GENERATIONS);
    switch.sweep(|path| is_over(path, now));
    switch.sweep_inside();
    trust::sweep(dir);
    Ok(())
}

/// Writes the next generation and switches to it.
pub(super) fn advance(
    switch: Switch<'_>,
    delivery: &Delivery,
    own_bundle: &Bundle,
    extras: &[Extra],
) -> Result<u64, DeliveryError> {
    let credential = &delivery.credential;
    let (bundle, key) = (credential.to_pem(), credential.key_to_pem());
    let mut files: Files<'_> = vec![
        (CREDENTIAL_BUNDLE.to_owned(), Cow::Borrowed(bundle.expose().as_bytes())),
        (TLS_KEY.to_owned(), Cow::Borrowed(key.expose().as_bytes())),
        (TLS_CRT.to_owned(), Cow::Owned(credential.chain_to_pem().into_bytes())),
        (CA_CRT.to_owned(), Cow::Owned(own_bundle.to_pem().into_bytes())),
    ];
    for bundle in &delivery.bundles {
        files.push((bundle_name(bundle.trust_domain()), Cow::Owned(bundle.to_pem().into_bytes())));
    }
    files.extend(extras.iter().map(|extra| (extra.name.to_owned(), Cow::Borrowed(extra.content.expose().as_slice()))));
    switch.advance(&files, None)
}

/// The stable names lead through `current`, so that they never have to change again.
fn link_stable_names(dir: &Path, extras: &[Extra]) -> Result<(), DeliveryError> {
    let mut moved = false;
    for name in [CREDENTIAL_BUNDLE, TLS_KEY, TLS_CRT].into_iter().chain(extras.iter().map(|extra| extra.name)) {
        moved |= disk::relink(&dir.join(name), &Path::new(CURRENT).join(name))?;
    }
    if moved { disk::sync_dir(dir) } else { Ok(()) }
}

/// Refuses a directory that is another's, or whose owner cannot be read.
fn require_identity(dir: &Path, wanted: &Leaf, mends: bool) -> Result<(), DeliveryError> {
    let found = match load::read(dir) {
        Ok(found) => found,
        Err(LoadError::NoCredential { .. }) => return Ok(()),
        Err(_) if mends => return Ok(()),
        Err(source) => return Err(DeliveryError::Unreadable { dir: dir.to_owned(), source: Box::new(source) }),
    };
    let found = found.credential.leaf();
    if found.is_named_as(wanted) {
        return Ok(());
    }
    Err(DeliveryError::OtherIdentity { dir: dir.to_owned(), found: found.called(), wanted: wanted.called() })
}

/// Whether a generation can go: its certificate has expired, or cannot be read.
fn is_over(generation: &Path, now: UnixTime) -> bool {
    load::leaf_of(&generation.join(TLS_CRT)).is_none_or(|leaf| leaf.not_after() < now)
}
