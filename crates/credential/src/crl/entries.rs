//! The entries of a revocation list, sorted, in two allocations however many there are.

use std::cmp::Ordering;
use std::fmt;

use countermark_identity::UnixTime;

/// What a list says about one revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// Since when.
    pub at: UnixTime,
    /// Why, if the list says.
    pub reason: Option<RevocationReason>,
}

/// Why a certificate was revoked ([RFC 5280 §5.3.1](https://www.rfc-editor.org/rfc/rfc5280#section-5.3.1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the list of RFC 5280 is closed; removeFromCRL stands in delta lists only")]
pub enum RevocationReason {
    /// An attribute authority's key is in other hands.
    AaCompromise,
    /// The name or another fact changed.
    AffiliationChanged,
    /// The CA's key is in other hands.
    CaCompromise,
    /// On hold.
    CertificateHold,
    /// No longer needed.
    CessationOfOperation,
    /// The key is in other hands.
    KeyCompromise,
    /// A privilege was withdrawn.
    PrivilegeWithdrawn,
    /// Replaced.
    Superseded,
    /// No reason.
    Unspecified,
}

impl RevocationReason {
    /// The name that RFC 5280 gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AaCompromise => "aACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::CaCompromise => "cACompromise",
            Self::CertificateHold => "certificateHold",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::KeyCompromise => "keyCompromise",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Unspecified,
            1 => Self::KeyCompromise,
            2 => Self::CaCompromise,
            3 => Self::AffiliationChanged,
            4 => Self::Superseded,
            5 => Self::CessationOfOperation,
            6 => Self::CertificateHold,
            9 => Self::PrivilegeWithdrawn,
            10 => Self::AaCompromise,
            _ => return None,
        })
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Revoked serials in one buffer, and an index over it in the order of the serials.
#[derive(Debug, Default)]
pub(super) struct Entries {
    serials: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u8,
    revoked: Revoked,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds an entry; none when the serial is longer than any may be.
    pub(super) fn push(&mut self, serial: &[u8], revoked: Revoked) -> Option<()> {
        let start = u32::try_from(self.serials.len()).ok()?;
        let length = u8::try_from(serial.len()).ok()?;
        self.serials.extend_from_slice(serial);
        self.index.push(Entry { start, length, revoked });
        Some(())
    }

    /// Puts the entries in order, once all are there.
    pub(super) fn sort(&mut self) {
        let serials = self.serials.as_slice();
        self.index.sort_by(|a, b| compare(a.serial(serials), b.serial(serials)));
        self.index.shrink_to_fit();
        self.serials.shrink_to_fit();
    }

    /// Looks up a serial by its minimal big-endian bytes.
    pub(super) fn find(&self, serial: &[u8]) -> Option<Revoked> {
        let place = self.index.binary_search_by(|entry| compare(entry.serial(&self.serials), serial)).ok()?;
        self.index.get(place).map(|entry| entry.revoked)
    }
}

impl Entry {
    fn serial(self, serials: &[u8]) -> &[u8] {
        let start = self.start as usize;
        serials.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

/// The order of two unsigned numbers without leading zeros.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
