//! Delivering a credential: its next generation, switched by one rename.

use std::borrow::Cow;
use std::path::Path;

use countermark_identity::{SpiffeId, UnixTime};

use super::error::{DeliveryError, LoadError};
use super::lock::Lock;
use super::names::{CA_CRT, CREDENTIAL_BUNDLE, CURRENT, GENERATIONS, TLS_CRT, TLS_KEY, bundle_name};
use super::switch::{Files, Switch};
use super::{Delivery, Generation, disk, load, trust};
use crate::bundle::Bundle;

/// Delivers a credential and its trust material to `dir`, which becomes or already is the directory of that identity.
///
/// The trust material is switched first, so that nobody finds a credential that the roots beside it do not know. Generations
/// whose certificate has expired at `now` are removed, as is what a delivery that was cut off left behind.
pub fn deliver(dir: &Path, delivery: &Delivery, now: UnixTime) -> Result<Generation, DeliveryError> {
    let own = delivery.credential.spiffe_id().ok_or(DeliveryError::NoSpiffeId)?;
    let own_bundle = delivery
        .bundles
        .iter()
        .find(|bundle| bundle.trust_domain() == own.trust_domain())
        .ok_or_else(|| DeliveryError::NoOwnBundle { trust_domain: own.trust_domain().clone() })?;
    disk::create_dir_all(dir)?;
    let _lock = Lock::acquire(dir)?;
    require_identity(dir, own)?;
    trust::switch(dir, &delivery.bundles, &delivery.crls, Some(own.trust_domain()))?;
    link_stable_names(dir)?;
    let switch = Switch::new(dir, GENERATIONS);
    switch.sweep(|path| is_over(path, now));
    // Makes the names above durable, too.
    Ok(Generation(advance(switch, delivery, own_bundle)?))
}

/// Writes the next generation and switches to it.
pub(super) fn advance(switch: Switch<'_>, delivery: &Delivery, own_bundle: &Bundle) -> Result<u64, DeliveryError> {
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
    switch.advance(&files)
}

/// The stable names lead through `current`, so that they never have to change again. Before the first generation they lead nowhere.
fn link_stable_names(dir: &Path) -> Result<(), DeliveryError> {
    for name in [CREDENTIAL_BUNDLE, TLS_KEY, TLS_CRT] {
        disk::relink(&dir.join(name), &Path::new(CURRENT).join(name))?;
    }
    Ok(())
}

/// Refuses a directory that is another identity's, or whose owner cannot be read.
fn require_identity(dir: &Path, wanted: &SpiffeId) -> Result<(), DeliveryError> {
    let found = match load::read(dir) {
        Ok(found) => found,
        Err(LoadError::NoCredential { .. }) => return Ok(()),
        Err(source) => return Err(DeliveryError::Unreadable { dir: dir.to_owned(), source: Box::new(source) }),
    };
    match found.credential.spiffe_id() {
        Some(id) if id == wanted => Ok(()),
        Some(id) => {
            Err(DeliveryError::OtherIdentity { dir: dir.to_owned(), found: id.clone(), wanted: wanted.clone() })
        }
        None => Err(DeliveryError::NoSpiffeId),
    }
}

/// Whether a generation can go: its certificate has expired, or cannot be read.
fn is_over(generation: &Path, now: UnixTime) -> bool {
    load::leaf_of(&generation.join(TLS_CRT)).is_none_or(|leaf| leaf.not_after() < now)
}
