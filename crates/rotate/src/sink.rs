//! Where a credential is delivered: the generation directory, and what is made from it.

#[cfg(feature = "pkcs12")]
mod keystore;
mod projected;
mod secret;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

#[cfg(feature = "pkcs12")]
use countermark_credential::Bundle;
use countermark_credential::Credential;
use countermark_credential::directory::{self, Delivery, Extra, Generation, Manner, Writer};
use countermark_identity::{Secret, UnixTime};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

pub(crate) use self::projected::project;
pub(crate) use self::secret::manifest;
use crate::config::CredentialEntry;

/// What further forms of a credential are made with, known before a certificate is asked for.
#[derive(Debug)]
pub(crate) struct Forms {
    #[cfg(feature = "pkcs12")]
    password: Option<Secret<String>>,
}

impl Forms {
    /// Refuses what would stop the delivery of a credential with this key.
    #[cfg(feature = "pkcs12")]
    pub(crate) fn prepare(entry: &CredentialEntry, key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let Some(file) = &entry.sinks.keystore_password else { return Ok(Self { password: None }) };
        keystore::require_pkcs8(key)?;
        Ok(Self { password: Some(keystore::word(file)?) })
    }

    /// There is nothing that could.
    #[cfg(not(feature = "pkcs12"))]
    pub(crate) const fn prepare(_entry: &CredentialEntry, _key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        Ok(Self {})
    }

    fn extras(&self, entry: &CredentialEntry, delivery: &Delivery) -> Result<Vec<Extra>, String> {
        let mut extras = Vec::new();
        if entry.sinks.combined {
            extras.push(Extra { name: COMBINED, content: combined(&delivery.credential) });
        }
        #[cfg(feature = "pkcs12")]
        if let Some(password) = &self.password {
            let own = |bundle: &&Bundle| bundle.trust_domain() == entry.identity.trust_domain();
            let roots = delivery.bundles.iter().find(own).map_or(&[][..], Bundle::roots);
            extras.push(Extra { name: KEYSTORE, content: keystore::keystore(&delivery.credential, roots, password)? });
        }
        Ok(extras)
    }
}

/// Delivers the next generation with all its forms, by one rename.
pub(crate) fn deliver(
    writer: &Writer,
    entry: &CredentialEntry,
    delivery: &Delivery,
    forms: &Forms,
    now: UnixTime,
) -> Result<Generation, String> {
    let extras = forms.extras(entry, delivery)?;
    let manner = Manner {
        access: entry.access,
        extras,
        mends: true,
        keeps_newer: true,
        keeps_partners: true,
        trust_domain: Some(entry.identity.trust_domain().clone()),
    };
    writer.deliver_as(delivery, &manner, now).map_err(|error| error.to_string())
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
    // What counts, and not what this generation was delivered with: a root may have been withdrawn since.
    let trust = directory::load_own_trust(&entry.directory, entry.identity.trust_domain());
    let own =
        trust.map_err(|error| error.to_string())?.bundles.pop().ok_or("there is no trust bundle for the keystore")?;
    let path = entry.directory.join("generations").join(generation.to_string()).join(KEYSTORE);
    let password = keystore::word(password)?;
    if keystore::holds(&path, &held.credential, own.roots(), &password) {
        return Ok(());
    }
    let content = keystore::keystore(&held.credential, own.roots(), &password)?;
    directory::replace_file_as(&path, content.expose(), entry.access).map_err(|error| error.to_string())
}

/// Whether a directory still leads to this generation. What is older is carried no further: the next one may be already.
fn is_current(entry: &CredentialEntry, generation: u64) -> bool {
    directory::current_generation(&entry.directory) == Some(generation)
}

/// What a further place of delivery gets, by file name.
type Files = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a generation is for its readers, and the version of the trust material beside it.
///
/// Roots and lists are those that count now, and no others: a generation keeps the roots of its delivery, and with them those that
/// were withdrawn since. A version that was switched away while it was read may have been swept half way, and what is missing then was
/// not withdrawn: it is read anew.
fn delivered(entry: &CredentialEntry, generation: u64) -> io::Result<(u64, Files)> {
    let version = || {
        let version = directory::trust_version(&entry.directory);
        version.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "trust/current leads nowhere"))
    };
    let of_generation = |name: &str| directory::is_of_credential(name) || [COMBINED, KEYSTORE].contains(&name);
    let mut files = Files::new();
    read(&entry.directory.join("generations").join(generation.to_string()), of_generation, &mut files)?;
    let mut counts = version()?;
    for _ in 0..READINGS {
        let mut trust = Files::new();
        let from = entry.directory.join("trust/versions").join(counts.to_string());
        let read = read(&from, directory::is_of_trust, &mut trust);
        let now = version()?;
        if now == counts {
            read?;
            files.append(&mut trust);
            return Ok((counts, files));
        }
        counts = now;
    }
    Err(io::Error::other("the trust material was switched whenever it was read"))
}

/// The files of a directory that are for its readers, and not what a write that was cut off has left.
fn read(from: &Path, wanted: impl Fn(&str) -> bool, files: &mut Files) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        if let Some(name) = file.file_name().to_str().filter(|name| wanted(name)) {
            files.insert(name.to_owned(), Zeroizing::new(fs::read(file.path())?));
        }
    }
    Ok(())
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

/// How often trust material is read that is switched meanwhile.
const READINGS: usize = 8;
const COMBINED: &str = "combined.pem";
const KEYSTORE: &str = "keystore.p12";

#[cfg(test)]
mod tests;
