//! What DER demands and x509-parser lets pass: a tag's class and constructed bit, and lengths in their shortest form.
//!
//! Outside the signed part it would let a third party write one certificate in several ways.

/// Whether `bytes` is a request, certificate or CRL in DER: SEQUENCE { SEQUENCE, SEQUENCE { OID, … }, BIT STRING }.
pub(crate) fn is_signed(bytes: &[u8]) -> bool {
    let parts = || {
        let (signed, rest) = part(inside(bytes)?)?;
        let (algorithm, rest) = part(rest)?;
        let (signature, rest) = part(rest)?;
        let (oid, parameters) = part(inside(algorithm)?)?;
        let parameters = parameters.first().copied();
        let tags = [signed, algorithm, signature, oid].map(|part| part.first().copied());
        let right = tags == [Some(0x30), Some(0x30), Some(0x03), Some(0x06)]
            && bytes.first() == Some(&0x30)
            && matches!(parameters, None | Some(0x05 | 0x30));
        Some(right && rest.is_empty())
    };
    is_der(bytes) && parts().unwrap_or(false)
}

/// The first value whole, and what follows it.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = value(bytes, 0)?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// The content of a value.
fn inside(bytes: &[u8]) -> Option<&[u8]> {
    length(bytes.get(1..)?).map(|(_, content)| content)
}

/// Whether `bytes` is one value in DER, all the way down.
fn is_der(bytes: &[u8]) -> bool {
    value(bytes, 0).is_some_and(|rest| rest.is_empty())
}

/// Reads one value; answers what follows it.
fn value(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let (&tag, bytes) = bytes.split_first()?;
    let (length, bytes) = length(bytes)?;
    let (mut content, rest) = bytes.split_at_checked(length)?;
    let constructed = tag & 0x20 != 0;
    let number = tag & 0x1f;
    let universal = tag & 0xc0 == 0;
    // X.690 §8.9, §8.11: SEQUENCE and SET are constructed; §10.2: DER's strings are not. Long tags do not occur in X.509.
    if depth > MAX_DEPTH || number == 0x1f || (universal && constructed != matches!(number, SEQUENCE | SET)) {
        return None;
    }
    while constructed && !content.is_empty() {
        content = value(content, depth + 1)?;
    }
    Some(rest)
}

/// X.690 §10.1: definite, in the fewest octets.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, bytes) = bytes.split_first()?;
    if first < 0x80 {
        return Some((first.into(), bytes));
    }
    let (digits, rest) = bytes.split_at_checked((first & 0x7f).into())?;
    if digits.len() > 3 || digits.first().is_none_or(|digit| *digit == 0) {
        return None;
    }
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    (length >= 0x80).then_some((length, rest))
}

const SEQUENCE: u8 = 0x10;
const SET: u8 = 0x11;
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_der_passes() {
        let long = [vec![0x04, 0x81, 0x80], vec![0; 0x80]].concat();
        for good in [&[0x30, 0][..], &[0x30, 3, 2, 1, 5], &[0xa0, 2, 5, 0], &[0x80, 2, 0xff, 0xff], &long] {
            assert!(is_der(good), "{good:x?}");
        }
        let deep = (0..20)
            .fold(Vec::new(), |inner: Vec<u8>, _| [vec![0x30, u8::try_from(inner.len()).unwrap()], inner].concat());
        let bad: [(&str, &[u8]); 12] = [
            ("empty", &[]),
            ("a primitive sequence", &[0x10, 0]),
            ("a constructed integer", &[0x22, 0]),
            ("a constructed octet string", &[0x24, 3, 4, 1, 1]),
            ("something follows", &[0x30, 0, 0]),
            ("something is missing", &[0x30, 1]),
            ("an indefinite length", &[0x30, 0x80, 0, 0]),
            ("a length in too many octets", &[0x04, 0x81, 1, 0]),
            ("a length that begins with zero", &[0x04, 0x82, 0, 0x80]),
            ("a length beyond all reason", &[0x04, 0x84, 1, 0, 0, 0]),
            ("a long tag", &[0x1f, 0x81, 0]),
            ("too deep", &deep),
        ];
        for (why, bytes) in bad {
            assert!(!is_der(bytes), "{why}");
        }
    }
}
