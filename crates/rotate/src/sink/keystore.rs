//! A PKCS#12 keystore, as Java reads it: AES-256 under PBES2, HMAC-SHA-256.

use std::collections::BTreeSet;
use std::path::Path;

use countermark_credential::Credential;
use countermark_identity::Secret;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12ImportPolicy, PrivateKey,
    PrivateKeyChain,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Key, chain and roots under one password.
pub(super) fn keystore(
    credential: &Credential,
    roots: &[CertificateDer<'_>],
    password: &Secret<String>,
) -> Result<Secret<Vec<u8>>, String> {
    let failed = |error: p12_keystore::error::Error| format!("no keystore could be made: {error}");
    let key = PrivateKey::from_der(require_pkcs8(credential.key())?).map_err(failed)?;
    let chain = credential.chain().iter().map(|der| Certificate::from_der(der));
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let id = credential.leaf().serial().as_bytes();
    let mut store = KeyStore::new();
    store.add_entry(ALIAS, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, chain)));
    for (index, root) in roots.iter().enumerate() {
        let root = Certificate::from_der(root).map_err(failed)?;
        store.add_entry(&format!("root-{}", index + 1), KeyStoreEntry::Certificate(root));
    }
    let writer = store.writer(password.expose()).encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256);
    writer.mac_algorithm(MacAlgorithm::HmacSha256).write().map(Secret::new).map_err(failed)
}

/// The key, in the only form that a keystore takes.
pub(super) fn require_pkcs8<'a>(key: &'a PrivateKeyDer<'_>) -> Result<&'a [u8], String> {
    match key {
        PrivateKeyDer::Pkcs8(key) => Ok(key.secret_pkcs8_der()),
        _ => Err("no keystore could be made: the key is not PKCS#8; let a renewal make a new one".to_owned()),
    }
}

/// Whether a file holds this credential and exactly these roots, and opens by the password.
pub(super) fn holds(
    path: &Path,
    credential: &Credential,
    roots: &[CertificateDer<'_>],
    password: &Secret<String>,
) -> bool {
    let Ok(content) = std::fs::read(path).map(Secret::new) else { return false };
    let policy = Pkcs12ImportPolicy::Strict;
    let Ok(store) = KeyStore::from_pkcs12(content.expose(), password.expose(), policy) else { return false };
    let leaf = store.private_key_chain().and_then(|(_, chain)| chain.certs().first()).map(Certificate::as_der);
    let trusted = store.entries().filter_map(|(_, entry)| match entry {
        KeyStoreEntry::Certificate(root) => Some(root.as_der()),
        _ => None,
    });
    let roots: BTreeSet<&[u8]> = roots.iter().map(AsRef::as_ref).collect();
    leaf == credential.chain().first().map(AsRef::as_ref) && trusted.collect::<BTreeSet<_>>() == roots
}

/// The password: the first line of its file.
pub(super) fn word(password: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(password)
        .map(Secret::new)
        .map_err(|error| format!("cannot read the keystore's password in {}: {error}", password.display()))?;
    let word = text.expose().lines().next().unwrap_or_default();
    if word.is_empty() {
        return Err(format!("the keystore's password in {} is empty", password.display()));
    }
    Ok(Secret::new(word.to_owned()))
}

const ALIAS: &str = "countermark";
