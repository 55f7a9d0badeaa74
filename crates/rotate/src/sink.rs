//! Where a credential is delivered: the generation directory, and what is made from it.

#[cfg(feature = "pkcs12")]
mod keystore;
mod projected;
mod secret;

#[cfg(feature = "pkcs12")]
use countermark_credential::Bundle;
use countermark_credential::Credential;
use countermark_credential::directory::{self, Delivery, Extra, Generation, Manner};
use countermark_identity::{Secret, UnixTime};

pub(crate) use self::projected::project;
pub(crate) use self::secret::manifest;
use crate::config::CredentialEntry;

/// Delivers the next generation with all its forms, by one rename.
pub(crate) fn deliver(entry: &CredentialEntry, delivery: Delivery, now: UnixTime) -> Result<Generation, String> {
    let extras = extras(entry, &delivery)?;
    let trust_domain = Some(entry.identity.trust_domain().clone());
    let manner = Manner { access: entry.access, extras, mends: true, keeps_newer: true, trust_domain };
    directory::deliver_as(&entry.directory, &delivery, &manner, now).map_err(|error| error.to_string())
}

fn extras(entry: &CredentialEntry, delivery: &Delivery) -> Result<Vec<Extra>, String> {
    let mut extras = Vec::new();
    if entry.sinks.combined {
        extras.push(Extra { name: COMBINED, content: combined(&delivery.credential) });
    }
    #[cfg(feature = "pkcs12")]
    if let Some(file) = &entry.sinks.keystore_password {
        let own = |bundle: &&Bundle| bundle.trust_domain() == entry.identity.trust_domain();
        let roots = delivery.bundles.iter().find(own).map_or(&[][..], Bundle::roots);
        extras.push(Extra { name: KEYSTORE, content: keystore::keystore(&delivery.credential, roots, file)? });
    }
    Ok(extras)
}

/// Writes `keystore.p12` of this generation anew if the roots in it are no longer those of the directory.
#[cfg(feature = "pkcs12")]
pub(crate) fn renew_keystore(entry: &CredentialEntry, generation: u64) -> Result<(), String> {
    let Some(password) = &entry.sinks.keystore_password else { return Ok(()) };
    let held = directory::read(&entry.directory).map_err(|error| error.to_string())?;
    if held.generation.map(Generation::number) != Some(generation) {
        // The next one has brought its own.
        return Ok(());
    }
    let present = crate::renew::present(&entry.directory, &entry.identity);
    let own = present.own(entry.identity.trust_domain()).ok_or("there is no trust bundle for the keystore")?;
    let path = entry.directory.join("generations").join(generation.to_string()).join(KEYSTORE);
    if keystore::holds(&path, &held.credential, own.bundle.roots(), password) {
        return Ok(());
    }
    let content = keystore::keystore(&held.credential, own.bundle.roots(), password)?;
    directory::replace_file_as(&path, content.expose(), entry.access).map_err(|error| error.to_string())
}

/// Whether a file of a generation or of trust material is for its readers, and not what a write that was cut off has left.
fn is_delivered(name: &str) -> bool {
    directory::is_delivered(name) || [COMBINED, KEYSTORE].contains(&name)
}

/// There is none.
#[cfg(not(feature = "pkcs12"))]
pub(crate) const fn renew_keystore(_entry: &CredentialEntry, _generation: u64) -> Result<(), String> {
    Ok(())
}

/// Leaf, intermediates, key: the order that most servers other than ours want.
fn combined(credential: &Credential) -> Secret<Vec<u8>> {
    let (chain, key) = (credential.chain_to_pem(), credential.key_to_pem());
    let mut text = Vec::with_capacity(chain.len() + key.expose().len());
    text.extend_from_slice(chain.as_bytes());
    text.extend_from_slice(key.expose().as_bytes());
    Secret::new(text)
}

const COMBINED: &str = "combined.pem";
const KEYSTORE: &str = "keystore.p12";
