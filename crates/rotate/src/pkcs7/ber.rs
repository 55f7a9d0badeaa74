//! The outer layers of a CMS message, in DER or in BER: some servers end what they wrap by a mark in place of a length
//! ([X.690 §8.1.3.6](https://www.itu.int/rec/T-REC-X.690)).

/// A cursor over elements. Tags of one byte, lengths of up to four, and depths of up to [`DEEPEST`] are read; nothing recurses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One element as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// All of it, to its last byte.
    pub(super) whole: &'a [u8],
}

/// What follows a tag.
enum Length {
    /// So many bytes.
    Definite(usize),
    /// Elements, up to the mark of their end.
    Marked,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element; none where what is there is no whole element.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (tag, length, header) = head(self.0)?;
        let inside = self.0.get(header..)?;
        let (content, all) = match length {
            Length::Definite(length) => (length, header.checked_add(length)?),
            Length::Marked => {
                let length = up_to_the_mark(inside)?;
                (length, header.checked_add(length)?.checked_add(MARK.len())?)
            }
        };
        let (whole, rest) = self.0.split_at_checked(all)?;
        self.0 = rest;
        Some(Element { tag, content: inside.get(..content)?, whole })
    }
}

/// The tag, the length, and how many bytes they take.
fn head(bytes: &[u8]) -> Option<(u8, Length, usize)> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    // Tags of several bytes stand nowhere in such a message; the mark of an end is no element.
    if tag & 0x1f == 0x1f || tag == 0 {
        return None;
    }
    match first {
        MARKED => (tag & CONSTRUCTED != 0).then_some((tag, Length::Marked, 2)),
        short if short < 0x80 => Some((tag, Length::Definite(usize::from(short)), 2)),
        long => {
            let count = usize::from(long & 0x7f);
            let bytes = rest.get(..count).filter(|_| count <= 4)?;
            let length = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            Some((tag, Length::Definite(length), 2 + count))
        }
    }
}

/// Where the mark stands that ends what began at the beginning of `bytes`. Elements of a known length are stepped over.
fn up_to_the_mark(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0_usize, 1_usize);
    loop {
        let rest = bytes.get(at..)?;
        if rest.starts_with(&MARK) {
            open -= 1;
            if open == 0 {
                return Some(at);
            }
            at += MARK.len();
            continue;
        }
        let (_, length, header) = head(rest)?;
        at = at.checked_add(header)?;
        match length {
            Length::Definite(length) => at = at.checked_add(length)?,
            Length::Marked if open == DEEPEST => return None,
            Length::Marked => open += 1,
        }
    }
}

/// In place of a length.
pub(super) const MARKED: u8 = 0x80;
const CONSTRUCTED: u8 = 0x20;
const MARK: [u8; 2] = [0, 0];
/// How deep marks are nested at most.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_lengths_are_read_and_nothing_that_is_cut_off() {
        let nested = [0x30, 0x80, 0xa0, 0x80, 0x04, 0x02, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x02];
        let mut reader = Reader::new(&nested);
        let outer = reader.next().unwrap();
        assert_eq!((outer.tag, outer.content, outer.whole), (0x30, &nested[2..12], &nested[..14]));
        assert_eq!(reader.0, [0x02]);
        let mut inside = Reader::new(outer.content);
        assert_eq!(inside.next().map(|element| element.content), Some(&[0x04, 0x02, 0x00, 0x00][..]));
        assert_eq!(inside.next().map(|element| (element.tag, element.content)), Some((0x05, &[][..])));
        assert!(inside.is_empty());
        for bad in [
            &[0x30, 0x80][..],
            &[0x30, 0x80, 0x00],
            &[0x04, 0x80, 0x00, 0x00],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x3f, 0x01, 0x00],
            &[0x00, 0x00],
            &[0x30],
            &[],
        ] {
            assert!(Reader::new(bad).next().is_none(), "{bad:02x?}");
        }
    }

    #[test]
    fn the_depth_is_bounded() {
        let nested = |depth: usize| [[0x30, 0x80].repeat(depth), [0, 0].repeat(depth)].concat();
        assert!(Reader::new(&nested(DEEPEST)).next().is_some());
        assert!(Reader::new(&nested(DEEPEST + 1)).next().is_none());
        assert!(Reader::new(&nested(1_000_000)).next().is_none());
    }
}
