//! The certs-only answers of EST: a degenerate CMS SignedData
//! ([RFC 7030 §4.1.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.1.3)), read for its certificates alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::ObjectIdentifier;
use der::{AnyRef, Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The certificates of an answer, byte for byte as they stand in it.
///
/// # Errors
/// [`AnswerError`] if it is no such answer.
pub fn certificates(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, AnswerError> {
    let der = transfer_decoded(body)?;
    let content = sequence(&der)?;
    let mut fields = SliceReader::new(content)?;
    let kind = ObjectIdentifier::decode(&mut fields)?;
    if kind != SIGNED_DATA {
        return Err(AnswerError::Kind);
    }
    let wrapped = AnyRef::decode(&mut fields)?;
    require(wrapped, context(0))?;
    let mut fields = SliceReader::new(sequence(wrapped.value())?)?;
    // version, digestAlgorithms, encapContentInfo
    for tag in [Tag::Integer, Tag::Set, Tag::Sequence] {
        require(AnyRef::decode(&mut fields)?, tag)?;
    }
    let certificates = AnyRef::decode(&mut fields)?;
    require(certificates, context(0))?;
    let mut list = SliceReader::new(certificates.value())?;
    let mut found = Vec::new();
    while !list.is_finished() {
        let certificate = AnyRef::decode(&mut list)?;
        require(certificate, Tag::Sequence)?;
        if found.len() == MOST {
            return Err(AnswerError::TooMany);
        }
        found.push(CertificateDer::from(certificate.to_der()?));
    }
    Ok(found)
}

/// The chain of the certificate over `spki`, leaf first and without a root, whatever order they came in.
///
/// # Errors
/// [`AnswerError::NotOurs`] when none of them is over that key.
pub fn chain(
    certificates: &[CertificateDer<'static>],
    spki: &[u8],
) -> Result<Vec<CertificateDer<'static>>, AnswerError> {
    let mut parsed = Vec::with_capacity(certificates.len());
    for der in certificates {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| AnswerError::Certificate)?;
        parsed.push((der, certificate));
    }
    let leaf = parsed.iter().position(|(_, certificate)| certificate.public_key().raw == spki);
    let (der, certificate) = parsed.swap_remove(leaf.ok_or(AnswerError::NotOurs)?);
    let mut chain = vec![der.clone()];
    let mut issuer = certificate.issuer().as_raw().to_vec();
    parsed.retain(|(_, certificate)| certificate.subject().as_raw() != certificate.issuer().as_raw());
    while let Some(next) =
        parsed.iter().position(|(_, certificate)| certificate.subject().as_raw() == issuer.as_slice())
    {
        let (der, certificate) = parsed.swap_remove(next);
        chain.push(der.clone());
        issuer = certificate.issuer().as_raw().to_vec();
    }
    Ok(chain)
}

/// Base64 with or without line breaks, as EST transfers it; DER is taken as it is.
fn transfer_decoded(body: &[u8]) -> Result<Vec<u8>, AnswerError> {
    if body.first() == Some(&0x30) && body.get(1).is_some_and(|second| *second >= 0x80) {
        return Ok(body.to_vec());
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map_err(|_| AnswerError::Encoding)
}

/// The content of the one SEQUENCE that `der` consists of.
fn sequence(der: &[u8]) -> Result<&[u8], AnswerError> {
    let whole = AnyRef::from_der(der)?;
    require(whole, Tag::Sequence)?;
    Ok(whole.value())
}

fn require(found: AnyRef<'_>, wanted: Tag) -> Result<(), AnswerError> {
    if der::Tagged::tag(&found) == wanted { Ok(()) } else { Err(AnswerError::Kind) }
}

const fn context(number: u8) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: match number {
            0 => TagNumber::N0,
            _ => TagNumber::N1,
        },
    }
}

/// Why an answer gives no chain. Never holds a byte of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A certificate that cannot be read.
    #[error("the answer holds something that is no certificate")]
    Certificate,
    /// Not DER.
    #[error("the answer is not DER: {0}")]
    Der(#[from] der::Error),
    /// Neither base64 nor DER.
    #[error("the answer is neither base64 nor DER")]
    Encoding,
    /// Something other than certificates alone.
    #[error("the answer is not a list of certificates (CMS certs-only)")]
    Kind,
    /// None of the certificates is over the key that was sent.
    #[error("none of the certificates in the answer is over the key that was sent")]
    NotOurs,
    /// More certificates than any chain has.
    #[error("the answer holds more than {MOST} certificates")]
    TooMany,
}

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const MOST: usize = 64;

#[cfg(test)]
pub(crate) mod tests {
    use countermark_testkit::TestCa;

    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn short(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match content.len() {
            length @ 0..=127 => der.push(length as u8),
            length @ 128..=255 => der.extend([0x81, length as u8]),
            _ => return tlv(tag, content),
        }
        der.extend(content);
        der
    }

    /// What an EST server answers.
    pub(crate) fn certs_only(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
        let certificates: Vec<u8> = certificates.iter().flat_map(|der| der.as_ref().to_vec()).collect();
        let data = short(0x30, &short(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]));
        let signed = short(
            0x30,
            &[&[0x02, 0x01, 0x01][..], &[0x31, 0x00], &data, &short(0xa0, &certificates), &[0x31, 0x00]].concat(),
        );
        let oid = short(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02]);
        short(0x30, &[oid, short(0xa0, &signed)].concat())
    }

    #[test]
    fn certificates_come_out_as_they_went_in_in_any_order_and_encoding() {
        let ca = TestCa::new("agents.internal");
        let credential = ca.agent("billing-bot");
        let mut certificates: Vec<_> = credential.chain().to_vec();
        certificates.extend(ca.bundle().roots().iter().cloned());
        for _ in 0..certificates.len() {
            certificates.rotate_left(1);
            let der = certs_only(&certificates);
            let flat = STANDARD.encode(&der);
            let lines: String =
                flat.as_bytes().chunks(64).flat_map(|line| [line, b"\r\n"].concat()).map(char::from).collect();
            for body in [der.clone(), flat.into_bytes(), lines.into_bytes()] {
                let found = super::certificates(&body).unwrap();
                assert_eq!(found, certificates);
                assert_eq!(chain(&found, credential.leaf().spki_der()).unwrap(), credential.chain());
            }
        }
    }

    #[test]
    fn a_certificate_over_another_key_is_not_ours() {
        let ca = TestCa::new("agents.internal");
        let (one, other) = (ca.agent("billing-bot"), ca.agent("billing-bot"));
        assert!(matches!(chain(one.chain(), other.leaf().spki_der()), Err(AnswerError::NotOurs)));
        assert!(matches!(chain(&[], other.leaf().spki_der()), Err(AnswerError::NotOurs)));
    }

    #[test]
    fn garbage_is_refused() {
        let good = certs_only(TestCa::new("agents.internal").agent("x").chain());
        let mut wrong_kind = good.clone();
        wrong_kind[14] = 1;
        for body in
            [&b""[..], b"<html>no</html>", b"aGVsbG8=", &[0x30, 0x80, 0x00], &wrong_kind, &good[..good.len() - 1]]
        {
            assert!(certificates(body).is_err(), "{body:?}");
        }
        for at in 0..good.len() {
            let mut broken = good.clone();
            broken[at] ^= 0x40;
            let _either_way = certificates(&broken).and_then(|found| chain(&found, b"x"));
        }
        let many = certs_only(&vec![CertificateDer::from(vec![0x30, 0x00]); 65]);
        assert!(matches!(certificates(&many), Err(AnswerError::TooMany)));
    }
}
