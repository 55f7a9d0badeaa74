//! The extensions that decide: BasicConstraints, keyUsage, extendedKeyUsage, subjectAltName; each at most once.

use x509_parser::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, X509Extension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;

use super::{LeafError, Usages};

pub(super) struct Extensions<'a> {
    pub(super) subject_alt_name: Option<Raw<'a>>,
    pub(super) usages: Option<Usages>,
    has_basic_constraints: bool,
    key_usage: Option<(bool, KeyUsage)>,
}

#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) value: &'a [u8],
    critical: bool,
}

impl<'a> Extensions<'a> {
    /// Reads them, and refuses what no leaf may have.
    pub(super) fn parse(list: &'a [X509Extension<'a>]) -> Result<Self, LeafError> {
        require_unique(list)?;
        let mut found = Self { subject_alt_name: None, usages: None, has_basic_constraints: false, key_usage: None };
        for extension in list {
            found.take(extension)?;
        }
        Ok(found)
    }

    fn take(&mut self, extension: &'a X509Extension<'a>) -> Result<(), LeafError> {
        let X509Extension { oid, critical, value, .. } = extension;
        if *oid == OID_X509_EXT_SUBJECT_ALT_NAME {
            self.subject_alt_name = Some(Raw { value, critical: *critical });
        } else if *oid == OID_X509_EXT_BASIC_CONSTRAINTS {
            let constraints: BasicConstraints = parse_whole(oid, value)?;
            if constraints.ca {
                return Err(LeafError::Authority);
            }
            self.has_basic_constraints = true;
        } else if *oid == OID_X509_EXT_KEY_USAGE {
            let usage: KeyUsage = parse_whole(oid, value)?;
            require_no_signing_of_others(usage)?;
            self.key_usage = Some((*critical, usage));
        } else if *oid == OID_X509_EXT_EXTENDED_KEY_USAGE {
            let usage: ExtendedKeyUsage<'_> = parse_whole(oid, value)?;
            self.usages = Some(Usages { client: usage.client_auth, server: usage.server_auth });
        } else if *critical {
            return Err(LeafError::CriticalExtension { oid: oid.to_id_string() });
        }
        Ok(())
    }

    /// The leaf rules of [X509-SVID §4](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#4-constraints-and-usage).
    ///
    /// > Leaf certificates MUST set the `cA` field to false. … The Key Usage extension MUST be set on all SVIDs, and MUST
    /// > be marked critical. … Leaf SVIDs MUST set `digitalSignature`. … `keyCertSign` and `cRLSign` … MUST NOT.
    pub(super) fn require_svid(&self, empty_subject: bool) -> Result<(), LeafError> {
        if !self.has_basic_constraints {
            return Err(LeafError::NoBasicConstraints);
        }
        match &self.key_usage {
            None => return Err(LeafError::NoKeyUsage),
            Some((false, _)) => return Err(LeafError::KeyUsageNotCritical),
            Some((true, _)) => {}
        }
        // RFC 5280 §4.2.1.6: "if the subject field contains an empty sequence, then the issuing CA MUST include a
        // subjectAltName extension that is marked as critical."
        match self.subject_alt_name {
            Some(Raw { critical: false, .. }) if empty_subject => Err(LeafError::SanNotCritical),
            _ => Ok(()),
        }
    }
}

fn require_unique(list: &[X509Extension<'_>]) -> Result<(), LeafError> {
    for (at, extension) in list.iter().enumerate() {
        if list.iter().take(at).any(|earlier| earlier.oid == extension.oid) {
            let is_san = extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME;
            let other = || LeafError::DuplicateExtension { oid: extension.oid.to_id_string() };
            return Err(if is_san { LeafError::DuplicateSan } else { other() });
        }
        if at >= MAX_EXTENSIONS {
            return Err(LeafError::Der);
        }
    }
    Ok(())
}

fn require_no_signing_of_others(usage: KeyUsage) -> Result<(), LeafError> {
    if usage.key_cert_sign() {
        Err(LeafError::KeyCertSign)
    } else if usage.crl_sign() {
        Err(LeafError::CrlSign)
    } else if !usage.digital_signature() {
        Err(LeafError::NoDigitalSignature)
    } else {
        Ok(())
    }
}

fn parse_whole<'a, T, E>(oid: &Oid<'_>, value: &'a [u8]) -> Result<T, LeafError>
where
    T: FromDer<'a, E>,
{
    match T::from_der(value) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(LeafError::Extension { oid: oid.to_id_string() }),
    }
}

/// Uniqueness is looked at pair by pair, which is quick only for few.
const MAX_EXTENSIONS: usize = 64;
