//! A bag of certificates as EST carries it: SignedData without a signer.
//!
//! [RFC 5652 §5.2](https://www.rfc-editor.org/rfc/rfc5652#section-5.2),
//! [RFC 7030 §4.1.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.1.3)

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countermark_issue::KeyType;
use rustls_pki_types::CertificateDer;

/// The certificates as a degenerate, certs-only CMS message, DER.
pub(crate) fn certs_only<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Vec<u8> {
    let mut all = Vec::new();
    for certificate in certificates {
        all.extend_from_slice(certificate);
    }
    let data = tlv(SEQUENCE, DATA);
    let signed = [VERSION_1, &tlv(SET, &[]), &data, &tlv(CONTEXT_0, &all), &tlv(SET, &[])].concat();
    let content = tlv(CONTEXT_0, &tlv(SEQUENCE, &signed));
    tlv(SEQUENCE, &[SIGNED_DATA, &content].concat())
}

/// What a request should be made of, [RFC 7030 §4.5.2](https://www.rfc-editor.org/rfc/rfc7030#section-4.5.2); nothing for
/// keys that say it all themselves.
pub(crate) fn csr_attributes(key: KeyType) -> Option<Vec<u8>> {
    let (curve, signature) = match key {
        KeyType::P256 => (SECP256R1, ECDSA_SHA256),
        KeyType::P384 => (SECP384R1, ECDSA_SHA384),
        KeyType::Ed25519 | KeyType::Rsa3072 => return None,
    };
    let key = tlv(SEQUENCE, &[EC_PUBLIC_KEY, &tlv(SET, curve)].concat());
    Some(tlv(SEQUENCE, &[&key, signature].concat()))
}

/// Base64 in lines, as every tool reads it.
pub(crate) fn base64_lines(bytes: &[u8]) -> String {
    let mut lines = String::with_capacity(bytes.len() * 3 / 2);
    for line in bytes.chunks(LINE / 4 * 3) {
        STANDARD.encode_string(line, &mut lines);
        lines.push('\n');
    }
    lines
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = Vec::with_capacity(content.len() + 10);
    der.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant =
                bytes.iter().position(|byte| *byte != 0).and_then(|at| bytes.get(at..)).unwrap_or_default();
            der.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            der.extend_from_slice(significant);
        }
    }
    der.extend_from_slice(content);
    der
}

const LINE: usize = 76;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
const VERSION_1: &[u8] = &[0x02, 0x01, 0x01];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const SECP256R1: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const SECP384R1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.2.840.10045.4.3.2
const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 1.2.840.10045.4.3.3
const ECDSA_SHA384: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(tlv(SET, &[]), [0x31, 0]);
        assert_eq!(tlv(SET, &[7; 127])[..2], [0x31, 127]);
        assert_eq!(tlv(SET, &[7; 128])[..3], [0x31, 0x81, 128]);
        assert_eq!(tlv(SET, &[7; 256])[..4], [0x31, 0x82, 1, 0]);
    }

    #[test]
    fn an_empty_bag() {
        let expected = "3025 0609 2a864886f70d010702 a018 3016 020101 3100 300b 0609 2a864886f70d010701 a000 3100";
        let hex: String = certs_only([]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn lines_are_broken_and_joined_again() {
        let lines = base64_lines(&[9; 200]);
        assert!(lines.lines().all(|line| line.len() <= LINE));
        assert_eq!(STANDARD.decode(lines.replace('\n', "")).unwrap(), [9; 200]);
    }
}
