//! Walking DER where the raw bytes of a part matter: one strict reader of tag, length and content.

/// A cursor over DER.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element: its content, and all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(crate) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.peek()? != tag {
            return None;
        }
        let (length, header) = length(self.0.get(1..)?)?;
        let header = header.checked_add(1)?;
        let (whole, rest) = self.0.split_at_checked(header.checked_add(length)?)?;
        self.0 = rest;
        Some(Element { content: whole.get(header..)?, whole })
    }

    /// The next element, if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Option<Element<'a>>> {
        if self.peek() == Some(tag) { self.expect(tag).map(Some) } else { Some(None) }
    }

    /// The content of the one element of this tag that `der` consists of.
    pub(crate) fn only(der: &'a [u8], tag: u8) -> Option<&'a [u8]> {
        let mut reader = Self(der);
        let element = reader.expect(tag)?;
        reader.is_empty().then_some(element.content)
    }
}

/// A DER length: its value and how many bytes it takes. Lengths that could be shorter are refused.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let value = bytes.get(1..=count)?.iter().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
    let shortest = if count == 1 { 0x80 } else { 1 << (8 * (count - 1)) };
    (value >= shortest).then_some((value, 1 + count))
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const CONTEXT_0: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses_lengths() {
        assert_eq!(Reader::only(&[0x04, 0x01, 0x07], OCTET_STRING), Some(&[7_u8][..]));
        for bad in [
            &[0x04_u8, 0x02, 0x07][..],
            &[0x04, 0x81, 0x01, 0x07],
            &[0x04, 0x80],
            &[0x04],
            &[0x04, 0x01, 0x07, 0x00],
            &[],
        ] {
            assert_eq!(Reader::only(bad, OCTET_STRING), None, "{bad:?}");
        }
        let mut long = vec![0x04, 0x82, 0x01, 0x00];
        long.extend([9; 256]);
        assert_eq!(Reader::only(&long, OCTET_STRING).map(<[u8]>::len), Some(256));
    }
}
