//! A key with the chain that certifies it.

use std::fmt;

use countermark_identity::{Leaf, LeafError, Secret, SpiffeId};
use rustls_pki_types::pem::SectionKind;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::key;
use crate::pem::{self, PemError};

/// What a process presents: a private key and the chain whose leaf certifies it, leaf first.
///
/// One can be made only when the key is the leaf's and the leaf is a certificate that may identify somebody.
pub struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: Secret<PrivateKeyDer<'static>>,
    leaf: Leaf,
}

impl Credential {
    /// Joins a key to its chain, leaf first.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, CredentialError> {
        let leaf = Leaf::parse(chain.first().ok_or(CredentialError::EmptyChain)?)?;
        match key::matches(&key, leaf.spki_der()) {
            None => return Err(CredentialError::UnusableKey),
            Some(false) => return Err(CredentialError::KeyMismatch { serial: leaf.serial().to_string() }),
            Some(true) => {}
        }
        Ok(Self { chain, key: Secret::new(key), leaf })
    }

    /// Reads a `credential-bundle.pem`: one private key, then the leaf, then its intermediates.
    pub fn from_pem(text: &[u8]) -> Result<Self, CredentialError> {
        let mut keys = Vec::new();
        let mut chain = Vec::new();
        for (kind, der) in pem::read(text, PEM_SECTIONS)? {
            match kind {
                SectionKind::Certificate => chain.push(CertificateDer::from(der)),
                SectionKind::EcPrivateKey => keys.push(PrivateKeyDer::Sec1(der.into())),
                SectionKind::RsaPrivateKey => keys.push(PrivateKeyDer::Pkcs1(der.into())),
                _ => keys.push(PrivateKeyDer::Pkcs8(der.into())),
            }
        }
        let found = keys.len();
        match (keys.pop(), found) {
            (Some(key), 1) => Self::new(chain, key),
            _ => Err(CredentialError::KeyCount { found }),
        }
    }

    /// The credential as one PEM text: key, leaf, intermediates.
    #[must_use]
    pub fn to_pem(&self) -> Secret<String> {
        let mut text = self.key_text();
        text.push_str(&self.chain_to_pem());
        Secret::new(text)
    }

    /// The key alone as PEM.
    #[must_use]
    pub fn key_to_pem(&self) -> Secret<String> {
        Secret::new(self.key_text())
    }

    /// The chain alone as PEM, leaf first.
    #[must_use]
    pub fn chain_to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.chain {
            pem::write(&mut text, "CERTIFICATE", certificate);
        }
        text
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key; `clone_key` makes the copy that a TLS configuration wants.
    #[must_use]
    pub const fn key(&self) -> &PrivateKeyDer<'static> {
        self.key.expose()
    }

    /// The parsed leaf.
    #[must_use]
    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The SPIFFE ID of the leaf; none when the leaf is one that only a map can name.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.leaf.spiffe_id()
    }

    /// The key as PEM, with room for the chain, so that the text is not moved and left behind when it grows.
    fn key_text(&self) -> String {
        let key = self.key();
        let certificates: usize = self.chain.iter().map(|certificate| certificate.len()).sum();
        let mut text =
            String::with_capacity((key.secret_der().len() + certificates) * 3 / 2 + 64 * (1 + self.chain.len()));
        let label = match key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        pem::write(&mut text, label, key.secret_der());
        text
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("spiffe_id", &self.spiffe_id().map(SpiffeId::as_str))
            .field("serial", self.leaf.serial())
            .field("not_after", &self.leaf.not_after())
            .finish_non_exhaustive()
    }
}

/// Why a key and a chain do not make a credential. Never holds a byte of the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is no certificate.
    #[error("there is no certificate beside the key")]
    EmptyChain,
    /// Not exactly one private key.
    #[error("expected one private key before the certificates, found {found}")]
    KeyCount {
        /// How many there are.
        found: usize,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key is not that of the certificate with serial {serial}: key and certificate come from different generations"
    )]
    KeyMismatch {
        /// The serial of the leaf.
        serial: String,
    },
    /// The leaf cannot identify anybody.
    #[error("the leaf certificate is refused: {0}")]
    Leaf(#[from] LeafError),
    /// The text is not PEM, or cut off.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key is broken or of an unsupported kind.
    #[error("the private key is broken or of an unsupported kind; P-256, P-384, Ed25519 and RSA are supported")]
    UnusableKey,
}

const PEM_SECTIONS: &[SectionKind] =
    &[SectionKind::Certificate, SectionKind::PrivateKey, SectionKind::EcPrivateKey, SectionKind::RsaPrivateKey];

#[cfg(test)]
mod tests;
