//! The roots of one trust domain.

use std::fmt::Write as _;
use std::sync::Arc;

use countermark_identity::TrustDomain;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::SectionKind;

use crate::authority::{Authority, AuthorityError};
use crate::pem::{self, PemError};

/// The roots of one trust domain, and of no other.
#[derive(Clone, Debug)]
pub struct Bundle {
    trust_domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    authorities: Vec<Arc<Authority>>,
    sequence: Option<u64>,
}

impl Bundle {
    /// Gathers the roots of a trust domain; each must be a CA certificate that names no other trust domain.
    pub fn new(trust_domain: TrustDomain, roots: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        if roots.is_empty() {
            return Err(BundleError::Empty { trust_domain });
        }
        let mut authorities = Vec::with_capacity(roots.len());
        for (index, root) in roots.iter().enumerate() {
            let authority = parse_root(root, &trust_domain).map_err(|error| BundleError::Root {
                trust_domain: trust_domain.clone(),
                position: index + 1,
                error,
            })?;
            authorities.push(Arc::new(authority));
        }
        Ok(Self { trust_domain, roots, authorities, sequence: None })
    }

    /// Reads a `<td>.trust-bundle.pem`: certificates, and optionally a line `Sequence: N` before the first of them.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        let sequence = read_sequence(text)?;
        let roots = pem::read(text, &[SectionKind::Certificate])?
            .into_iter()
            .map(|(_, der)| CertificateDer::from(der))
            .collect();
        Ok(Self { sequence, ..Self::new(trust_domain, roots)? })
    }

    /// The bundle as PEM, its sequence first.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        if let Some(sequence) = self.sequence {
            let _infallible = writeln!(text, "{SEQUENCE} {sequence}");
        }
        for root in &self.roots {
            pem::write(&mut text, "CERTIFICATE", root);
        }
        text
    }

    /// The same roots under a sequence number, which must grow whenever they change.
    #[must_use]
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// Whose roots these are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The root certificates.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The number that says which of two bundles is the newer.
    #[must_use]
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// What each root says about itself, in the order of [`Self::roots`].
    #[must_use]
    pub fn authorities(&self) -> &[Arc<Authority>] {
        &self.authorities
    }
}

/// A CA certificate that the path verification can begin at: one that it cannot would spoil the trust in every other.
fn parse_root(root: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Result<Authority, AuthorityError> {
    let authority = Authority::parse(root, trust_domain)?;
    match webpki::anchor_from_trusted_cert(root) {
        Ok(_) => Ok(authority),
        Err(error) => Err(AuthorityError::Unusable { detail: error.to_string() }),
    }
}

/// Reads the `Sequence: N` line that may stand before the first certificate.
fn read_sequence(text: &[u8]) -> Result<Option<u64>, BundleError> {
    let mut sequence = None;
    for line in text.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"-----BEGIN ")) {
        let Some(value) = line.strip_prefix(SEQUENCE.as_bytes()) else { continue };
        let number = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
        if sequence.is_some() || number.is_none() {
            return Err(BundleError::Sequence);
        }
        sequence = number;
    }
    Ok(sequence)
}

/// Why something is not a trust bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There is no certificate.
    #[error("the trust bundle of {trust_domain} holds no certificate")]
    Empty {
        /// Whose bundle.
        trust_domain: TrustDomain,
    },
    /// The text is not PEM, or cut off.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate may not be a root of this trust domain.
    #[error("certificate {position} of the trust bundle of {trust_domain} cannot be a root: {error}")]
    Root {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Which certificate, counted from 1.
        position: usize,
        /// Why not.
        #[source]
        error: AuthorityError,
    },
    /// The sequence line is broken or repeated.
    #[error("the line `Sequence: N` of the trust bundle is not one decimal number")]
    Sequence,
}

const SEQUENCE: &str = "Sequence:";

#[cfg(test)]
mod tests;
