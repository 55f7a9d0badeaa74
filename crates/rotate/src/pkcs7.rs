//! The certs-only answers of EST: a degenerate CMS SignedData
//! ([RFC 7030 §4.1.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.1.3)), read for its certificates alone.

mod ber;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{AnyRef, Decode as _};
use rustls_pki_types::CertificateDer;

use self::ber::{MARKED, Reader};

/// The certificates of an answer, byte for byte as they stand in it.
///
/// # Errors
/// [`AnswerError`] if it is no such answer.
pub fn certificates(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, AnswerError> {
    if body.len() > LARGEST {
        return Err(AnswerError::TooLarge);
    }
    let bytes = transfer_decoded(body)?;
    let mut message = Reader::new(&bytes);
    let mut fields = Reader::new(field(&mut message, SEQUENCE)?);
    if !message.is_empty() {
        return Err(AnswerError::Malformed);
    }
    if field(&mut fields, OID)? != SIGNED_DATA {
        return Err(AnswerError::Kind);
    }
    let mut wrapped = Reader::new(field(&mut fields, CONTEXT_0)?);
    let mut fields = Reader::new(field(&mut wrapped, SEQUENCE)?);
    // version, digestAlgorithms, encapContentInfo
    for tag in [INTEGER, SET, SEQUENCE] {
        field(&mut fields, tag)?;
    }
    let mut list = Reader::new(field(&mut fields, CONTEXT_0)?);
    let mut found = Vec::new();
    while !list.is_empty() {
        let certificate = list.next().ok_or(AnswerError::Malformed)?;
        if certificate.tag != SEQUENCE {
            return Err(AnswerError::Kind);
        }
        if found.len() == MOST {
            return Err(AnswerError::TooMany);
        }
        // A certificate is signed as it stands: in DER.
        let marked = certificate.whole.get(1) == Some(&MARKED);
        if marked || AnyRef::from_der(certificate.whole).is_err() {
            return Err(AnswerError::Certificate);
        }
        found.push(CertificateDer::from(certificate.whole.to_vec()));
    }
    Ok(found)
}

/// The content of the next element, which must be of this kind.
fn field<'a>(fields: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], AnswerError> {
    let element = fields.next().ok_or(AnswerError::Malformed)?;
    if element.tag == tag { Ok(element.content) } else { Err(AnswerError::Kind) }
}

/// Base64 with or without line breaks, as EST transfers it, or in the armour of PEM; DER and BER are taken as they are.
fn transfer_decoded(body: &[u8]) -> Result<Vec<u8>, AnswerError> {
    if body.first() == Some(&SEQUENCE) && body.get(1).is_some_and(|second| *second >= 0x80) {
        return Ok(body.to_vec());
    }
    let text = std::str::from_utf8(body).map_err(|_| AnswerError::Encoding)?;
    let text = armoured(text.trim()).unwrap_or(text);
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| AnswerError::Encoding)
}

/// What stands between the lines of a PEM block, whatever they call it.
fn armoured(text: &str) -> Option<&str> {
    let (_, text) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    Some(text.split_once("-----END ")?.0)
}

/// Why an answer gives no chain. Never holds a byte of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A certificate that cannot be read.
    #[error("the answer holds something that is no certificate")]
    Certificate,
    /// Neither base64 nor DER.
    #[error("the answer is neither base64 nor DER")]
    Encoding,
    /// Something other than certificates alone.
    #[error("the answer is not a list of certificates (CMS certs-only)")]
    Kind,
    /// Neither DER nor BER, or cut off.
    #[error("the answer is cut off, or is neither DER nor BER")]
    Malformed,
    /// None of the certificates is over the key that was sent.
    #[error("none of the certificates in the answer is over the key that was sent")]
    NotOurs,
    /// More bytes than any chain has.
    #[error("the answer has more than {LARGEST} bytes")]
    TooLarge,
    /// More certificates than any chain has.
    #[error("the answer holds more than {MOST} certificates")]
    TooMany,
}

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// Bytes of an answer: each certificate may have 64 KiB.
const LARGEST: usize = 4 * 1024 * 1024;
const MOST: usize = 64;

#[cfg(test)]
pub(crate) mod tests {
    use countermark_testkit::TestCa;

    use super::*;
    use crate::chain::Known;

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

    /// The same as BouncyCastle writes it: what wraps is ended by a mark.
    fn certs_only_marked(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
        let certificates: Vec<u8> = certificates.iter().flat_map(|der| der.as_ref().to_vec()).collect();
        let marked = |tag: u8, content: &[u8]| [&[tag, 0x80][..], content, &[0x00, 0x00]].concat();
        let oid = |last: u8| short(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, last]);
        let nothing = marked(0xa0, &marked(0x24, &[0x04, 0x00]));
        let data = marked(0x30, &[oid(1), nothing].concat());
        let signed = [&[0x02, 0x01, 0x01, 0x31, 0x00][..], &data, &marked(0xa0, &certificates), &[0x31, 0x00]].concat();
        marked(0x30, &[oid(2), marked(0xa0, &marked(0x30, &signed))].concat())
    }

    #[test]
    fn certificates_come_out_as_they_went_in_in_any_order_and_encoding() {
        let ca = TestCa::new("agents.internal");
        let credential = ca.agent("billing-bot");
        let mut certificates: Vec<_> = credential.chain().to_vec();
        certificates.extend(ca.bundle().roots().iter().cloned());
        for _ in 0..certificates.len() {
            certificates.rotate_left(1);
            for bytes in [certs_only(&certificates), certs_only_marked(&certificates)] {
                let flat = STANDARD.encode(&bytes);
                let lines: String =
                    flat.as_bytes().chunks(64).flat_map(|line| [line, b"\r\n"].concat()).map(char::from).collect();
                let pem = format!("-----BEGIN PKCS7-----\n{lines}-----END PKCS7-----\n");
                for body in [bytes, flat.into_bytes(), lines.into_bytes(), pem.into_bytes()] {
                    assert_eq!(super::certificates(&body).unwrap(), certificates);
                }
            }
        }
    }

    /// As BouncyCastle 1.80 wraps it, around the shortest thing that has the shape of a certificate.
    #[test]
    fn the_marks_of_bouncy_castle_are_read() {
        let before = "308006092a864886f70d010702a08030800201013100300b06092a864886f70d010701a080";
        let body = hex::decode(format!("{before}300302010700003100000000000000")).unwrap();
        assert_eq!(certificates(&body).unwrap(), [CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x07])]);
    }

    #[test]
    fn garbage_is_refused() {
        let good = certs_only(TestCa::new("agents.internal").agent("x").chain());
        let mut wrong_kind = good.clone();
        wrong_kind[14] = 1;
        for body in
            [&b""[..], b"<html>no</html>", b"aGVsbG8=", &[0x30, 0x80, 0x00], &wrong_kind, b"-----BEGIN PKCS7-----"]
        {
            assert!(certificates(body).is_err(), "{body:?}");
        }
        let many = certs_only(&vec![CertificateDer::from(vec![0x30, 0x00]); 65]);
        assert!(matches!(certificates(&many), Err(AnswerError::TooMany)));
        assert!(matches!(certificates(&vec![b'A'; LARGEST + 1]), Err(AnswerError::TooLarge)));
        // What is signed stands in DER, whatever wraps it.
        let marked = [&[0x30, 0x80][..], &short(0x04, &[7; 200]), &[0x00, 0x00]].concat();
        let marked = CertificateDer::from(marked);
        assert!(matches!(certificates(&certs_only(&[marked])), Err(AnswerError::Certificate)));
    }

    #[test]
    fn whatever_is_broken_or_cut_off_in_it_an_answer_panics_nobody() {
        let credential = TestCa::new("agents.internal").agent("x");
        for good in [certs_only(credential.chain()), certs_only_marked(credential.chain())] {
            for length in 0..good.len() {
                assert!(certificates(&good[..length]).is_err(), "cut off at {length}");
            }
            for (at, bits) in (0..good.len()).flat_map(|at| [0x01, 0x20, 0x40, 0x80, 0xff].map(|bits| (at, bits))) {
                let mut broken = good.clone();
                broken[at] ^= bits;
                let Ok(found) = certificates(&broken) else { continue };
                let _either_way = Known::default().chain(&found, &found, credential.leaf().spki_der());
            }
        }
    }
}
