//! JSON strings: where they end, and what they say.

use std::borrow::Cow;

use super::Surrogates;
use crate::ParseRefusal;

/// A string that was gone over.
pub(super) struct Skipped {
    /// The offset after its closing quote.
    pub(super) end: usize,
    /// Whether it has escapes.
    pub(super) escaped: bool,
}

/// Goes over the string that begins with the quote at `start`; every escape is judged on the way.
pub(super) fn skip(bytes: &[u8], start: usize, surrogates: Surrogates) -> Result<Skipped, ParseRefusal> {
    let mut at = start + 1;
    let mut escaped = false;
    loop {
        at = plain(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(Skipped { end: at + 1, escaped }),
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at, surrogates)?;
            }
            Some(_) => {
                return Err(ParseRefusal::Syntax {
                    offset: at,
                    expected: "an escape instead of a raw control character",
                });
            }
            None => {
                return Err(ParseRefusal::Syntax { offset: at, expected: "the quote that ends the string" });
            }
        }
    }
}

/// The text of a string that [`skip`] has accepted, quotes included in `raw`.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    if !inner.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    // Rare, so serde_json's own decoder does it; what `skip` accepted it accepts.
    serde_json::from_str(raw).map_or_else(|_| Cow::Borrowed(inner), Cow::Owned)
}

/// Skips bytes that need no attention, eight at a time: neither quote, backslash nor control character.
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero(word ^ (ONES * b'"' as u64));
        let backslash = zero(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

fn escape(bytes: &[u8], at: usize, surrogates: Surrogates) -> Result<usize, ParseRefusal> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match (unit(bytes, at)?, low_follows(bytes, at + 6)?) {
            (0xD800..=0xDBFF, true) => Ok(at + 12),
            (0xD800..=0xDFFF, _) if surrogates == Surrogates::Refused => {
                Err(ParseRefusal::LoneSurrogate { offset: at })
            }
            _ => Ok(at + 6),
        },
        _ => Err(ParseRefusal::Syntax { offset: at, expected: "an escape that JSON knows" }),
    }
}

/// Whether the second half of a surrogate pair is escaped here.
fn low_follows(bytes: &[u8], at: usize) -> Result<bool, ParseRefusal> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\\'), Some(b'u')) => Ok((0xDC00..=0xDFFF).contains(&unit(bytes, at)?)),
        _ => Ok(false),
    }
}

fn unit(bytes: &[u8], at: usize) -> Result<u32, ParseRefusal> {
    let refusal = ParseRefusal::Syntax { offset: at, expected: "four hexadecimal digits after `\\u`" };
    let Some(digits) = bytes.get(at + 2..at + 6) else {
        return Err(refusal);
    };
    let mut unit = 0;
    for digit in digits {
        let Some(value) = char::from(*digit).to_digit(16) else {
            return Err(refusal);
        };
        unit = unit << 4 | value;
    }
    Ok(unit)
}
