//! Certificate revocation lists: complete, direct ones, whose serials are found without a walk.

mod entries;
mod number;
mod parse;

use std::fmt;
use std::ops::Range;

use countermark_identity::{Serial, UnixTime};
use rustls_pki_types::pem::SectionKind;

use self::entries::Entries;
pub use self::entries::{RevocationReason, Revoked};
pub use self::number::{CrlNumber, CrlNumberError};
use crate::pem::{self, PemError};
use crate::trust::{SignatureError, signature};

/// A complete revocation list of one CA key, parsed but not believed: [`Crl::verify`] says whether a key signed it.
///
/// [RFC 5280 §5](https://www.rfc-editor.org/rfc/rfc5280#section-5). Delta lists, indirect lists and lists that cover a part of
/// what their issuer signed are refused, as is any critical extension that is not understood.
pub struct Crl {
    der: Box<[u8]>,
    tbs: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
    issuer: String,
    issuer_der: Range<usize>,
    number: Option<CrlNumber>,
    this_update: UnixTime,
    next_update: UnixTime,
    entries: Entries,
}

impl Crl {
    /// Parses one list in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        parse::parse(der)
    }

    /// Parses a file of lists: one or many in PEM, or one in DER.
    pub fn many_from_pem(file: &[u8]) -> Result<Vec<Self>, CrlError> {
        if file.first() == Some(&crate::der::SEQUENCE) {
            return Ok(vec![Self::from_der(file)?]);
        }
        let sections = pem::read(file, &[SectionKind::Crl])?;
        if sections.is_empty() {
            return Err(CrlError::Empty);
        }
        sections.iter().map(|(_, der)| Self::from_der(der)).collect()
    }

    /// The list as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        pem::write(&mut text, "X509 CRL", &self.der);
        text
    }

    /// The list as it was read.
    #[must_use]
    pub const fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer as text, for people only.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer as DER, to compare byte for byte.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        self.part(&self.issuer_der)
    }

    /// The number, which grows from list to list.
    #[must_use]
    pub const fn number(&self) -> Option<CrlNumber> {
        self.number
    }

    /// When it was made.
    #[must_use]
    pub const fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// When it is stale.
    #[must_use]
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it revokes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when and why a serial is revoked, if it is.
    #[must_use]
    pub fn revokes(&self, serial: &Serial) -> Option<Revoked> {
        self.entries.find(serial.as_bytes())
    }

    /// Verifies that the key in `spki_der` signed the list.
    pub fn verify(&self, spki_der: &[u8]) -> Result<(), SignatureError> {
        signature::verify(self.part(&self.algorithm), spki_der, self.part(&self.tbs), self.part(&self.signature))
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("issuer", &self.issuer)
            .field("number", &self.number)
            .field("next_update", &self.next_update)
            .field("revoked", &self.len())
            .finish_non_exhaustive()
    }
}

/// Why something is not a revocation list that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// An extension that must be understood is not.
    #[error("the CRL has a critical extension {oid} that is not understood")]
    CriticalExtension {
        /// Which.
        oid: String,
    },
    /// Only the changes since another list.
    #[error("the CRL is a delta; a complete one is needed")]
    Delta,
    /// An extension stands twice.
    #[error("the CRL has the extension {oid} twice")]
    DuplicateExtension {
        /// Which.
        oid: String,
    },
    /// The file holds no list.
    #[error("the file holds no CRL")]
    Empty,
    /// Entries of other issuers.
    #[error("the CRL is indirect: it lists certificates of another issuer")]
    Indirect,
    /// It is not a list in DER.
    #[error("the CRL is malformed at its {part}")]
    Malformed {
        /// Where.
        part: &'static str,
    },
    /// It would never be stale.
    #[error("the CRL has no nextUpdate, so that it would never be stale")]
    NoNextUpdate,
    /// It covers a part only.
    #[error(
        "the CRL has an issuing distribution point: it covers a part of its issuer's certificates; a complete one is needed"
    )]
    Partial,
    /// The text is not PEM, or cut off.
    #[error(transparent)]
    Pem(#[from] PemError),
}

#[cfg(test)]
mod tests;
