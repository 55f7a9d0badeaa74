//! One strict pass over a JSON text ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).
//!
//! Stricter than the grammar where parsers disagree, because a parser that disagrees is a way round the policy:
//! duplicate keys at any depth, NUL in a key and lone surrogates are refused.

mod keys;
mod string;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use keys::Keys;
pub(crate) use string::unescape;

use crate::ParseRefusal;

/// What a value is, known from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Literal,
}

/// Receives the values of a text by their place, which it names itself.
pub(crate) trait Sink<'a> {
    /// A place in the document; `Default` is a place of no interest.
    type Place: Copy + Default + PartialEq;

    /// The place of a member's value in an object at `place`; `at` is the offset of the key.
    fn member(&mut self, place: Self::Place, key: &str, at: usize) -> Result<Self::Place, ParseRefusal>;

    /// The place of an element in an array at `place`.
    fn element(&mut self, place: Self::Place) -> Self::Place;

    /// A whole value at a place of interest has been read; `raw` is its text, `at` where it begins.
    fn value(&mut self, place: Self::Place, kind: Kind, raw: &'a str, at: usize) -> Result<(), ParseRefusal>;
}

/// What becomes of an escape that is half of a surrogate pair, which is not Unicode and which JavaScript still writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surrogates {
    /// A client's message: parsers disagree about it.
    Refused,
    /// A server's answer: a text cut in the middle of a character. A name with one is judged as it is written.
    Passed,
}

/// Reads one JSON text, whole, and nothing after it.
pub(crate) fn scan<'a, S: Sink<'a>>(
    bytes: &'a [u8],
    depth: usize,
    surrogates: Surrogates,
    root: S::Place,
    sink: &mut S,
) -> Result<(), ParseRefusal> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(ParseRefusal::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ParseRefusal::NotUtf8 { offset: error.valid_up_to() })?;
    let mut scanner =
        Scanner { text, bytes: text.as_bytes(), at: 0, left: depth, depth, surrogates, keys: Keys::new(), sink };
    scanner.whitespace();
    scanner.value(root)?;
    scanner.whitespace();
    if scanner.at < scanner.bytes.len() {
        return Err(ParseRefusal::TrailingBytes { offset: scanner.at });
    }
    Ok(())
}

struct Scanner<'a, 's, S> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    left: usize,
    depth: usize,
    surrogates: Surrogates,
    keys: Keys<'a>,
    sink: &'s mut S,
}

impl<'a, S: Sink<'a>> Scanner<'a, '_, S> {
    fn value(&mut self, place: S::Place) -> Result<(), ParseRefusal> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.nested(place, Self::object, Kind::Object)?,
            Some(b'[') => self.nested(place, Self::array, Kind::Array)?,
            Some(b'"') => {
                self.at = string::skip(self.bytes, start, self.surrogates)?.end;
                Kind::String
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            _ => return Err(self.expected("a JSON value")),
        };
        if place == S::Place::default() {
            return Ok(());
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.sink.value(place, kind, raw, start)
    }

    fn nested(
        &mut self,
        place: S::Place,
        read: fn(&mut Self, S::Place) -> Result<(), ParseRefusal>,
        kind: Kind,
    ) -> Result<Kind, ParseRefusal> {
        self.left = self.left.checked_sub(1).ok_or(ParseRefusal::TooDeep { limit: self.depth })?;
        self.at += 1;
        read(self, place)?;
        self.left += 1;
        Ok(kind)
    }

    fn object(&mut self, place: S::Place) -> Result<(), ParseRefusal> {
        let frame = self.keys.open();
        self.whitespace();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let key = self.key(start)?;
            let inner = self.sink.member(place, &key, start)?;
            self.keys.push(&frame, key, start)?;
            self.whitespace();
            if !self.take(b':') {
                return Err(self.expected("`:`"));
            }
            self.whitespace();
            self.value(inner)?;
            self.whitespace();
            if self.take(b'}') {
                return self.keys.close(frame);
            }
            self.comma("`,` or `}`")?;
        }
    }

    fn key(&mut self, start: usize) -> Result<Cow<'a, str>, ParseRefusal> {
        let string::Skipped { end, escaped } = string::skip(self.bytes, start, self.surrogates)?;
        self.at = end;
        if !escaped {
            return Ok(Cow::Borrowed(self.text.get(start + 1..end - 1).unwrap_or_default()));
        }
        let key = unescape(self.text.get(start..end).unwrap_or_default());
        // Bare, it would have been refused as a control character.
        if key.as_bytes().contains(&0) { Err(ParseRefusal::NulInKey { offset: start }) } else { Ok(key) }
    }

    fn array(&mut self, place: S::Place) -> Result<(), ParseRefusal> {
        self.whitespace();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            let inner = self.sink.element(place);
            self.value(inner)?;
            self.whitespace();
            if self.take(b']') {
                return Ok(());
            }
            self.comma("`,` or `]`")?;
        }
    }

    fn comma(&mut self, expected: &'static str) -> Result<(), ParseRefusal> {
        if !self.take(b',') {
            return Err(self.expected(expected));
        }
        self.whitespace();
        Ok(())
    }

    fn number(&mut self) -> Result<Kind, ParseRefusal> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), ParseRefusal> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.expected("a digit"));
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<Kind, ParseRefusal> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word) {
            return Err(self.expected("`true`, `false` or `null`"));
        }
        self.at += word.len();
        Ok(Kind::Literal)
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn expected(&self, expected: &'static str) -> ParseRefusal {
        ParseRefusal::Syntax { offset: self.at, expected }
    }
}
