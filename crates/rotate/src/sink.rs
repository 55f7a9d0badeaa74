//! Where a credential is delivered: the generation directory, and what is made from it.

#[cfg(feature = "pkcs12")]
mod keystore;
mod projected;
mod secret;

use countermark_credential::Credential;
use countermark_credential::directory::{self, Delivery, Extra, Generation, Manner};
use countermark_identity::{Secret, UnixTime};

pub(crate) use self::projected::project;
pub(crate) use self::secret::manifest;
use crate::config::CredentialEntry;

/// Delivers the next generation with all its forms, by one rename.
pub(crate) fn deliver(entry: &CredentialEntry, delivery: Delivery, now: UnixTime) -> Result<Generation, String> {
    let extras = extras(entry, &delivery)?;
    let manner = Manner { access: entry.access, extras, mends: true, keeps_newer: true };
    directory::deliver_as(&entry.directory, &delivery, &manner, now).map_err(|error| error.to_string())
}

fn extras(entry: &CredentialEntry, delivery: &Delivery) -> Result<Vec<Extra>, String> {
    let mut extras = Vec::new();
    if entry.sinks.combined {
        extras.push(Extra { name: COMBINED, content: combined(&delivery.credential) });
    }
    #[cfg(feature = "pkcs12")]
    if let Some(file) = &entry.sinks.keystore_password {
        extras.push(Extra { name: KEYSTORE, content: keystore::keystore(entry, delivery, file)? });
    }
    Ok(extras)
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
#[cfg(feature = "pkcs12")]
const KEYSTORE: &str = "keystore.p12";
