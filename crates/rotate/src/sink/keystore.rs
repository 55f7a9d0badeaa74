//! A PKCS#12 keystore, as Java reads it: AES-256 under PBES2, HMAC-SHA-256.

use std::path::Path;

use countermark_credential::directory::Delivery;
use countermark_identity::Secret;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
};
use rustls_pki_types::PrivateKeyDer;

use crate::config::CredentialEntry;

/// Key, chain and roots under one password, which stands in the first line of a file.
pub(super) fn keystore(
    entry: &CredentialEntry,
    delivery: &Delivery,
    password: &Path,
) -> Result<Secret<Vec<u8>>, String> {
    let text = std::fs::read_to_string(password)
        .map(Secret::new)
        .map_err(|error| format!("cannot read the keystore's password in {}: {error}", password.display()))?;
    let word = text.expose().lines().next().unwrap_or_default();
    if word.is_empty() {
        return Err(format!("the keystore's password in {} is empty", password.display()));
    }
    let failed = |error: p12_keystore::error::Error| format!("no keystore could be made: {error}");
    let PrivateKeyDer::Pkcs8(key) = delivery.credential.key() else {
        return Err("no keystore could be made: the key is not PKCS#8; let a renewal make a new one".to_owned());
    };
    let key = PrivateKey::from_der(key.secret_pkcs8_der()).map_err(failed)?;
    let chain = delivery.credential.chain().iter().map(|der| Certificate::from_der(der));
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let id = delivery.credential.leaf().serial().as_bytes();
    let mut store = KeyStore::new();
    store.add_entry(ALIAS, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, chain)));
    let own = delivery.bundles.iter().filter(|bundle| bundle.trust_domain() == entry.identity.trust_domain());
    for (index, root) in own.flat_map(|bundle| bundle.roots()).enumerate() {
        let root = Certificate::from_der(root).map_err(failed)?;
        store.add_entry(&format!("root-{}", index + 1), KeyStoreEntry::Certificate(root));
    }
    let writer = store.writer(word).encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256);
    writer.mac_algorithm(MacAlgorithm::HmacSha256).write().map(Secret::new).map_err(failed)
}

const ALIAS: &str = "countermark";
