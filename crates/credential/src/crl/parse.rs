//! From DER to a list, refusing whatever would make its silence about a serial mean less than "not revoked".

use std::ops::Range;

use countermark_identity::UnixTime;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::entries::{Entries, RevocationReason, Revoked};
use super::number::CrlNumber;
use super::{Crl, CrlError};
use crate::authority::unix_time;
use crate::der::{BIT_STRING, BOOLEAN, CONTEXT_0, ENUMERATED, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, UTC_TIME};

pub(super) fn parse(der: &[u8]) -> Result<Crl, CrlError> {
    let list = Reader::only(der, SEQUENCE).ok_or(malformed("outer sequence"))?;
    let mut list = Reader::new(list);
    let tbs = list.expect(SEQUENCE).ok_or(malformed("list"))?;
    let algorithm = list.expect(SEQUENCE).ok_or(malformed("signature algorithm"))?;
    let signature = list.expect(BIT_STRING).ok_or(malformed("signature"))?;
    let [0, signature @ ..] = signature.content else { return Err(malformed("signature")) };
    if !list.is_empty() {
        return Err(malformed("end"));
    }
    let head = Head::parse(tbs.content)?;
    // RFC 5280 §5.1.1.2: the two algorithms MUST be the same.
    if head.algorithm != algorithm.whole {
        return Err(malformed("signature algorithm"));
    }
    let entries = parse_entries(head.revoked)?;
    let number = parse_extensions(head.extensions)?;
    Ok(Crl {
        tbs: range(der, tbs.whole),
        algorithm: range(der, algorithm.content),
        signature: range(der, signature),
        issuer: head.issuer_text()?,
        issuer_der: range(der, head.issuer),
        der: der.into(),
        number,
        this_update: head.this_update,
        next_update: head.next_update,
        entries,
    })
}

/// The fields of a `TBSCertList` ([RFC 5280 §5.1](https://www.rfc-editor.org/rfc/rfc5280#section-5.1)), lists still as DER.
struct Head<'a> {
    algorithm: &'a [u8],
    issuer: &'a [u8],
    this_update: UnixTime,
    next_update: UnixTime,
    revoked: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Head<'a> {
    fn parse(tbs: &'a [u8]) -> Result<Self, CrlError> {
        let mut tbs = Reader::new(tbs);
        let version = tbs.optional(INTEGER).ok_or(malformed("version"))?;
        if version.is_some_and(|version| version.content != [1]) {
            return Err(malformed("version"));
        }
        let algorithm = tbs.expect(SEQUENCE).ok_or(malformed("signature algorithm"))?.whole;
        let issuer = tbs.expect(SEQUENCE).ok_or(malformed("issuer"))?.whole;
        let this_update = parse_time(&mut tbs, "thisUpdate")?;
        if matches!(tbs.peek(), None | Some(SEQUENCE | CONTEXT_0)) {
            return Err(CrlError::NoNextUpdate);
        }
        let next_update = parse_time(&mut tbs, "nextUpdate")?;
        let revoked = tbs.optional(SEQUENCE).ok_or(malformed("list of serials"))?;
        let extensions = tbs.optional(CONTEXT_0).ok_or(malformed("extensions"))?;
        if !tbs.is_empty() {
            return Err(malformed("list"));
        }
        let extensions = match extensions {
            Some(wrapped) => Reader::only(wrapped.content, SEQUENCE).ok_or(malformed("extensions"))?,
            None => &[],
        };
        let revoked = revoked.map_or(&[][..], |revoked| revoked.content);
        Ok(Self { algorithm, issuer, this_update, next_update, revoked, extensions })
    }

    fn issuer_text(&self) -> Result<String, CrlError> {
        let (_, name) = X509Name::from_der(self.issuer).map_err(|_| malformed("issuer"))?;
        Ok(name.to_string().escape_debug().to_string())
    }
}

fn parse_entries(revoked: &[u8]) -> Result<Entries, CrlError> {
    let mut entries = Entries::default();
    let mut list = Reader::new(revoked);
    while !list.is_empty() {
        let entry = list.expect(SEQUENCE).ok_or(malformed("list of serials"))?;
        let mut entry = Reader::new(entry.content);
        let serial = entry.expect(INTEGER).ok_or(malformed("serial"))?.content;
        let at = parse_time(&mut entry, "revocation date")?;
        let extensions = entry.optional(SEQUENCE).ok_or(malformed("entry"))?;
        if !entry.is_empty() || serial.is_empty() {
            return Err(malformed("entry"));
        }
        let reason = parse_reason(extensions.map_or(&[][..], |extensions| extensions.content))?;
        let zeros = serial.iter().take_while(|byte| **byte == 0).count().min(serial.len() - 1);
        let serial = serial.get(zeros..).unwrap_or_default();
        entries.push(serial, Revoked { at, reason }).ok_or(malformed("serial"))?;
    }
    entries.sort();
    Ok(entries)
}

/// Reads the extensions of an entry: only the reason may matter.
fn parse_reason(extensions: &[u8]) -> Result<Option<RevocationReason>, CrlError> {
    let mut reason = None;
    for_each_extension(extensions, |extension| match extension.oid {
        REASON_CODE => {
            let code = Reader::only(extension.value, ENUMERATED);
            let Some([code]) = code else { return Err(malformed("reason code")) };
            // removeFromCRL (8) stands in delta lists alone.
            reason = Some(RevocationReason::from_code(*code).ok_or(malformed("reason code"))?);
            Ok(())
        }
        CERTIFICATE_ISSUER => Err(CrlError::Indirect),
        oid => extension.refuse_if_critical(oid),
    })?;
    Ok(reason)
}

/// Reads the extensions of the list: the number, and whether it is a whole list.
fn parse_extensions(extensions: &[u8]) -> Result<Option<CrlNumber>, CrlError> {
    let mut number = None;
    let mut seen: Vec<&[u8]> = Vec::new();
    for_each_extension(extensions, |extension| {
        if seen.contains(&extension.oid) {
            return Err(CrlError::DuplicateExtension { oid: oid_text(extension.oid) });
        }
        seen.push(extension.oid);
        match extension.oid {
            CRL_NUMBER => {
                let content = Reader::only(extension.value, INTEGER).ok_or(malformed("CRL number"))?;
                number = Some(CrlNumber::from_der_integer(content).ok_or(malformed("CRL number"))?);
                Ok(())
            }
            DELTA_CRL_INDICATOR => Err(CrlError::Delta),
            ISSUING_DISTRIBUTION_POINT => Err(CrlError::Partial),
            AUTHORITY_KEY_IDENTIFIER => Ok(()),
            oid => extension.refuse_if_critical(oid),
        }
    })?;
    Ok(number)
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl Extension<'_> {
    fn refuse_if_critical(&self, oid: &[u8]) -> Result<(), CrlError> {
        if self.critical { Err(CrlError::CriticalExtension { oid: oid_text(oid) }) } else { Ok(()) }
    }
}

fn for_each_extension<'a>(
    extensions: &'a [u8],
    mut visit: impl FnMut(Extension<'a>) -> Result<(), CrlError>,
) -> Result<(), CrlError> {
    let mut list = Reader::new(extensions);
    while !list.is_empty() {
        visit(parse_extension(&mut list).ok_or(malformed("extensions"))?)?;
    }
    Ok(())
}

fn parse_extension<'a>(list: &mut Reader<'a>) -> Option<Extension<'a>> {
    let mut fields = Reader::new(list.expect(SEQUENCE)?.content);
    let oid = fields.expect(OID)?.content;
    let critical = fields.optional(BOOLEAN)?.is_some_and(|flag| flag.content != [0]);
    let value = fields.expect(OCTET_STRING)?.content;
    fields.is_empty().then_some(Extension { oid, critical, value })
}

fn parse_time(reader: &mut Reader<'_>, part: &'static str) -> Result<UnixTime, CrlError> {
    let tag = if reader.peek() == Some(UTC_TIME) { UTC_TIME } else { GENERALIZED_TIME };
    let element = reader.expect(tag).ok_or(CrlError::Malformed { part })?;
    let (_, time) = ASN1Time::from_der(element.whole).map_err(|_| malformed(part))?;
    Ok(unix_time(time.timestamp()))
}

/// Where `part`, a slice of `whole`, stands in it.
fn range(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

fn oid_text(oid: &[u8]) -> String {
    x509_parser::der_parser::oid::Oid::new(oid.into()).to_id_string()
}

const fn malformed(part: &'static str) -> CrlError {
    CrlError::Malformed { part }
}

const GENERALIZED_TIME: u8 = 0x18;
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 0x1d];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
