//! A leaf certificate, parsed once and strictly.
//!
//! A path verifier accepts much that must not become an identity: two URI SANs, a certificate authority's own certificate,
//! names with a NUL inside. What is refused here is refused whoever signed it.

mod der;
mod error;
mod extensions;
mod names;

use std::fmt;
use std::sync::OnceLock;

use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser as _;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate, X509Name, X509Version};

pub use self::error::LeafError;
use self::extensions::Extensions;
use self::names::Names;
use crate::{Claim, IdentityError, San, SanMap, Serial, SpiffeId, Thumbprint, UnixTime};

/// A leaf certificate that could stand for one identity. It is not verified: no signature, no time was looked at.
///
/// For every leaf: version 3, strict DER to the last byte, no extension twice, exactly one subjectAltName extension with
/// at most one URI, no certificate authority, no unknown critical extension. For one with a `spiffe://` URI also the leaf
/// rules of the [X509-SVID](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#4-constraints-and-usage).
#[derive(Clone, Debug)]
pub struct Leaf {
    names: Names,
    usages: Option<Usages>,
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
    thumbprint: Thumbprint,
    issuer: Box<[u8]>,
    subject: Box<[u8]>,
    spki: Box<[u8]>,
    subject_text: OnceLock<String>,
}

/// In which direction a certificate is used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "TLS has two sides")]
pub enum Usage {
    /// It authenticates the side that connects.
    Client,
    /// It authenticates the side that accepts.
    Server,
}

impl fmt::Display for Usage {
    /// Writes the key purpose: `clientAuth` or `serverAuth`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "clientAuth",
            Self::Server => "serverAuth",
        })
    }
}

impl Leaf {
    /// Reads one certificate.
    ///
    /// # Errors
    /// [`LeafError`], one variant for each refusal.
    pub fn parse(der: &[u8]) -> Result<Self, LeafError> {
        let certificate = parse_certificate(der)?;
        let extensions = Extensions::parse(certificate.extensions())?;
        let names = Names::parse(extensions.subject_alt_name.ok_or(LeafError::NoSan)?.value)?;
        if names.spiffe_id.is_some() {
            extensions.require_svid(is_empty_name(certificate.subject()))?;
        }
        Ok(Self {
            names,
            usages: extensions.usages,
            serial: Serial::from_der_integer(certificate.raw_serial())?,
            not_before: unix(certificate.validity().not_before),
            not_after: unix(certificate.validity().not_after),
            thumbprint: Thumbprint::of(der),
            issuer: certificate.issuer().as_raw().into(),
            subject: certificate.subject().as_raw().into(),
            spki: certificate.public_key().raw.into(),
            subject_text: OnceLock::new(),
        })
    }

    /// Whether it may be used in this direction.
    ///
    /// An absent extended key usage allows every use
    /// ([RFC 5280 §4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12); the X509-SVID makes it optional);
    /// `anyExtendedKeyUsage` does not stand for a purpose that is not listed.
    ///
    /// # Errors
    /// [`LeafError::ExtendedKeyUsage`] if the extension stands there without the purpose.
    pub const fn permits(&self, usage: Usage) -> Result<(), LeafError> {
        let permitted = match (&self.usages, usage) {
            (None, _) => true,
            (Some(usages), Usage::Client) => usages.client,
            (Some(usages), Usage::Server) => usages.server,
        };
        if permitted { Ok(()) } else { Err(LeafError::ExtendedKeyUsage { wanted: usage }) }
    }

    /// Who this leaf says it is, and under whose roots that must verify.
    ///
    /// A leaf with a `spiffe://` URI is judged by that URI alone; any other only through `map`. Never by its subject.
    ///
    /// # Errors
    /// [`IdentityError`] if that is nobody, or more than one.
    pub fn claim(&self, map: &SanMap) -> Result<Claim, IdentityError> {
        match &self.names.spiffe_id {
            Some(id) => map.claim_spiffe_id(id),
            None => map.claim_sans(&self.names.sans),
        }
    }

    /// The SPIFFE ID of its URI SAN, if that is one.
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.names.spiffe_id.as_ref()
    }

    /// Its DNS, e-mail, IP and URI names, in the order of the certificate. Names of other kinds are left out.
    #[must_use]
    pub fn sans(&self) -> &[San] {
        &self.names.sans
    }

    /// How many names there are beside [`Self::sans`], of kinds that nobody is known by here.
    #[must_use]
    pub const fn unread_names(&self) -> usize {
        self.names.unread
    }

    /// Its SPIFFE ID, or else its names, for people to read.
    #[must_use]
    pub fn called(&self) -> String {
        match &self.names.spiffe_id {
            Some(id) => id.to_string(),
            None if self.names.sans.is_empty() => "nobody".to_owned(),
            None => San::list(&self.names.sans),
        }
    }

    /// Whether another leaf is of the same: it has the same SPIFFE ID or, where neither has one, the same names in whatever order.
    #[must_use]
    pub fn is_named_as(&self, other: &Self) -> bool {
        match (self.spiffe_id(), other.spiffe_id()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => {
                let set = |leaf: &Self| leaf.sans().iter().cloned().collect::<std::collections::BTreeSet<_>>();
                self.unread_names() == other.unread_names() && set(self) == set(other)
            }
            _ => false,
        }
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The first second of its life.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The last second of its life.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// SHA-256 over the whole certificate.
    #[must_use]
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// The subject's distinguished name, for people to read: nothing is decided by it.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.subject_text.get_or_init(|| match X509Name::from_der(&self.subject) {
            Ok((_, name)) => printable(&name.to_string()),
            Err(_) => String::new(),
        })
    }

    /// The issuer's distinguished name, as DER.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The subject's distinguished name, as DER.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The subject's public key info, as DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

/// The purposes that an extended key usage lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Usages {
    client: bool,
    server: bool,
}

fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    der::require_strict(der)?;
    let (rest, certificate) =
        X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).map_err(|_| LeafError::Der)?;
    if !rest.is_empty() {
        return Err(LeafError::TrailingData);
    }
    if certificate.version() != X509Version::V3 {
        return Err(LeafError::Version { found: certificate.version().0.saturating_add(1) });
    }
    Ok(certificate)
}

/// A stranger's text for a log or a terminal: what is neither letter, digit, space nor visible ASCII is escaped.
fn printable(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if plain(c) {
            out.push(c)
        } else {
            out.extend(c.escape_unicode())
        }
        out
    })
}

fn is_empty_name(name: &X509Name<'_>) -> bool {
    name.iter_rdn().next().is_none()
}

fn unix(time: ASN1Time) -> UnixTime {
    UnixTime::from_secs(time.timestamp().try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests;
