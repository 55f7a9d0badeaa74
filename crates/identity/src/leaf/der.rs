//! The rules of DER that a lenient parser forgives.

use super::LeafError;

/// Tag, content and what follows, of one element in DER: definite, minimal length; tag numbers below 31.
pub(super) fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = octets.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet));
            let minimal = octets.first() != Some(&0) && length > 0x7f;
            (minimal.then_some(length)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (tag & 0x1f != 0x1f).then_some((tag, content, rest))
}

/// Refuses indefinite and padded lengths, elements that overrun their parent, and bytes after the end.
pub(super) fn require_strict(bytes: &[u8]) -> Result<(), LeafError> {
    let (_, content, rest) = read(bytes).filter(|&(tag, ..)| tag == SEQUENCE).ok_or(LeafError::Der)?;
    if !rest.is_empty() {
        return Err(LeafError::TrailingData);
    }
    let parts = require_elements(content, MAX_DEPTH).ok_or(LeafError::Der)?;
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }, and nothing more.
    match read(content) {
        Some((SEQUENCE, tbs, _)) if parts == 3 && has_fields_of_tbs(tbs) => Ok(()),
        _ => Err(LeafError::Der),
    }
}

/// Six plain fields after an optional `[0]`, then each of `[1]`, `[2]`, `[3]` at most once and in this order.
fn has_fields_of_tbs(mut tbs: &[u8]) -> bool {
    let (mut plain, mut last_context) = (0, None);
    while let Some((tag, _, rest)) = read(tbs) {
        tbs = rest;
        let number = tag & 0x1f;
        let in_order = match tag & 0xc0 {
            0 => plain < 6,
            CONTEXT => last_context < Some(number) && plain == if number == 0 { 0 } else { 6 },
            _ => false,
        };
        if !in_order {
            return false;
        }
        match tag & 0xc0 {
            0 => plain += 1,
            _ => last_context = Some(number),
        }
    }
    plain == 6 && last_context <= Some(3)
}

/// How many well-formed elements these bytes are, all the way down.
fn require_elements(mut bytes: &[u8], depth: u8) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (tag, content, rest) = read(bytes)?;
        if tag & CONSTRUCTED != 0 {
            require_elements(content, depth.checked_sub(1)?)?;
        }
        (count, bytes) = (count + 1, rest);
    }
    Some(count)
}

pub(super) const SEQUENCE: u8 = 0x30;
const CONSTRUCTED: u8 = 0x20;
const CONTEXT: u8 = 0x80;
const MAX_DEPTH: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_minimal_definite_lengths() {
        assert_eq!(read(&[0x04, 0x01, 0xaa, 0xbb]), Some((0x04, &[0xaa][..], &[0xbb][..])));
        for (bytes, why) in [
            (&[][..], "empty"),
            (&[0x04], "no length"),
            (&[0x04, 0x02, 0xaa], "overrun"),
            (&[0x30, 0x80, 0x00, 0x00], "indefinite"),
            (&[0x04, 0x81, 0x01, 0xaa], "padded: fits the short form"),
            (&[0x04, 0x82, 0x00, 0x01, 0xaa], "padded: leading zero"),
            (&[0x04, 0x85, 0, 0, 0, 0, 1, 0xaa], "five octets of length"),
            (&[0x1f, 0x81, 0x00, 0x00], "high tag number"),
        ] {
            assert_eq!(read(bytes), None, "{why}");
        }
        let long = [&[0x04, 0x81, 0x80][..], &[0; 0x80]].concat();
        assert_eq!(read(&long).map(|(_, content, _)| content.len()), Some(0x80));
    }

    #[test]
    fn refuses_depth_bombs() {
        let mut bomb = vec![0x30, 0x00];
        for _ in 0..40 {
            bomb.splice(0..0, [0x30, u8::try_from(bomb.len()).unwrap()]);
        }
        assert_eq!(require_strict(&bomb), Err(LeafError::Der));
    }
}
