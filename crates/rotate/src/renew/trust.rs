//! Trust material that comes without a credential: how it is judged and delivered.

use std::sync::Arc;

use countermark_credential::directory::{self, DeliveryError, Writer};
use countermark_credential::{Authority, Bundle, ChainError, Credential, Crl};
use countermark_identity::{Clock, UnixTime};

use super::{Failure, Verdict, blocking, judged, present};
use crate::config::CredentialEntry;
use crate::event::Step;
use crate::issuer::{Listing, OwnTrust, Present};
use crate::machine::TrustMark;

/// Delivers revocation lists that the issuer has published, beside the roots that are there. Says which is there now.
pub(crate) async fn take_lists(
    entry: Arc<CredentialEntry>,
    listing: Listing,
    clock: Arc<dyn Clock>,
) -> Result<Option<TrustMark>, Failure> {
    let now = clock.now();
    deliver_trust(entry, move |_, entry| beside_the_roots(entry, listing, now)).await
}

/// Published lists and the roots that are there: none where there is no credential to stand beside.
fn beside_the_roots(entry: &CredentialEntry, listing: Listing, now: UnixTime) -> Result<Option<OwnTrust>, Failure> {
    // Not what a generation was delivered with: with it, a root would come back that was withdrawn since.
    let own = own_there(entry).map_err(Failure::at(Step::Deliver))?;
    let Some(credential) = present(&entry.directory, &entry.identity).credential else { return Ok(None) };
    let own = own.ok_or_else(|| Failure::new(Step::Deliver, NO_BUNDLE.to_owned()))?;
    let Listing { crls, verified, .. } = listing;
    let crls = if verified { crls } else { proven(crls, &own, &credential) };
    require_newer(&own.crls, &crls, !verified).map_err(Failure::at(Step::Verify))?;
    let own = OwnTrust { bundle: own.bundle, crls };
    verify_trust(entry, &credential, &own, now).map_err(Failure::at(Step::Verify))?;
    Ok(Some(own))
}

/// Of lists that anybody may have given, those that a root or an intermediate of our own has signed; beside them, what is there.
fn proven(given: Vec<Arc<Crl>>, own: &OwnTrust, credential: &Credential) -> Vec<Arc<Crl>> {
    let intermediates = credential.chain().iter().skip(1);
    let intermediates = intermediates.filter_map(|der| Authority::parse(der, own.bundle.trust_domain()).ok());
    let signers: Vec<_> = own.bundle.authorities().iter().cloned().chain(intermediates.map(Arc::new)).collect();
    let signed = |crl: &Arc<Crl>| {
        let mut named = signers.iter().filter(|signer| signer.subject_der() == crl.issuer_der());
        named.any(|signer| crl.verify(signer.spki_der()).is_ok())
    };
    let mut crls: Vec<_> = given.into_iter().filter(signed).collect();
    let has = |crl: &&Arc<Crl>| crls.iter().any(|other| other.issuer_der() == crl.issuer_der());
    let others: Vec<_> = own.crls.iter().filter(|crl| !has(crl)).cloned().collect();
    crls.extend(others);
    crls
}

/// Refuses a list that is older than the one of the same issuer that is there, and, where they must be `whole`, lists among which one
/// is missing that is there.
fn require_newer(before: &[Arc<Crl>], crls: &[Arc<Crl>], whole: bool) -> Result<(), String> {
    let has = |wanted: &Arc<Crl>| crls.iter().any(|crl| crl.issuer_der() == wanted.issuer_der());
    if let Some(missing) = before.iter().find(|crl| whole && !has(crl)) {
        return Err(format!("the revocation list of {} is missing", missing.issuer()));
    }
    for crl in crls {
        let older = |other: &&Arc<Crl>| other.issuer_der() == crl.issuer_der() && other.number() > crl.number();
        if before.iter().any(|other| older(&other)) {
            return Err(format!("the revocation list of {} is older than the one that is there", crl.issuer()));
        }
    }
    Ok(())
}

/// Delivers the trust material that is decided on while nobody else delivers, if any is. Says which is there then.
pub(super) async fn deliver_trust(
    entry: Arc<CredentialEntry>,
    decide: impl FnOnce(&Writer, &CredentialEntry) -> Result<Option<OwnTrust>, Failure> + Send + 'static,
) -> Result<Option<TrustMark>, Failure> {
    let deliver = move || {
        let failed = |error: DeliveryError| Failure::of_delivery(&entry, error.to_string());
        let writer = Writer::open(&entry.directory, entry.access).map_err(failed)?;
        let Some(OwnTrust { bundle, crls }) = decide(&writer, &entry)? else { return Ok(None) };
        writer.deliver_own_trust(bundle, crls).map_err(failed)?;
        // Read before any hook runs: what is switched later is seen by them, too.
        Ok(TrustMark::of(&entry.directory))
    };
    blocking(move || Ok(deliver())).await.map_err(Failure::at(Step::Deliver))?
}

/// Whether the credential in use verifies under this trust. Lists that revoke it are good ones all the same.
pub(super) fn verify_trust(
    entry: &CredentialEntry,
    credential: &Credential,
    own: &OwnTrust,
    now: UnixTime,
) -> Result<(), String> {
    match judged(&entry.identity, credential.chain(), own, now) {
        Ok(()) | Err(Verdict::Chain(ChainError::Revoked { .. } | ChainError::Expired { .. })) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Refuses a delivery after which the credential would not verify: roots that are there already stay where they are newer.
pub(super) fn require_led(
    writer: &Writer,
    entry: &CredentialEntry,
    credential: &Credential,
    delivered: &Bundle,
    now: UnixTime,
) -> Result<(), Failure> {
    let Some(bundle) = writer.newer_than(delivered) else { return Ok(()) };
    let stays = bundle.sequence().unwrap_or_default();
    let own = OwnTrust { bundle, crls: Vec::new() };
    let fault = |error| format!("the trust bundle that is there is newer and stays (sequence {stays}): {error}");
    verify_trust(entry, credential, &own, now).map_err(|error| Failure::new(Step::Verify, fault(error)))
}

/// The roots and lists of its own trust domain that count in a directory, whatever somebody broke of a partner's.
pub(crate) fn own_there(entry: &CredentialEntry) -> Result<Option<OwnTrust>, String> {
    let trust_domain = entry.identity.trust_domain();
    let trust = directory::load_own_trust(&entry.directory, trust_domain).map_err(|error| error.to_string())?;
    Ok(Present { trust, ..Present::default() }.own(trust_domain))
}

pub(super) const NO_BUNDLE: &str = "there is no trust bundle for it";
