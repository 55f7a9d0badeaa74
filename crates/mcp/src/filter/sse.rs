//! Server-sent events, taken apart as they arrive
//! ([HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).

use bytes::{Bytes, BytesMut};

/// Splits a byte stream into events, holding no more than one that is not complete.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Whole chunks that arrived while nothing was incomplete: cut without a copy.
    chunk: Bytes,
    /// An incomplete event.
    partial: BytesMut,
    /// How far `partial` has been searched, and where its current line begins.
    searched: Search,
    limit: usize,
    begun: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Search {
    at: usize,
    line: usize,
}

/// One event: its bytes as they came, and the data in them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// All of it, the blank line included.
    pub(crate) raw: Bytes,
    /// The `data` lines, joined; `None` for comments and for events without data.
    pub(crate) data: Option<Bytes>,
}

/// An event is larger than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { chunk: Bytes::new(), partial: BytesMut::new(), searched: Search::default(), limit, begun: false }
    }

    /// Takes the next bytes. All events must have been taken out before.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.partial.is_empty() && self.chunk.is_empty() {
            self.chunk = bytes;
        } else {
            let rest = std::mem::take(&mut self.chunk);
            self.partial.extend_from_slice(&rest);
            self.partial.extend_from_slice(&bytes);
        }
    }

    /// The next whole event.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, TooLarge> {
        let raw = if self.partial.is_empty() {
            let mut search = Search::default();
            match find_end(&self.chunk, &mut search) {
                Some(end) => self.chunk.split_to(end),
                None => {
                    self.partial.extend_from_slice(&self.chunk);
                    self.chunk = Bytes::new();
                    self.searched = search;
                    return self.bounded();
                }
            }
        } else {
            match find_end(&self.partial, &mut self.searched) {
                Some(end) => {
                    self.searched = Search::default();
                    self.partial.split_to(end).freeze()
                }
                None => return self.bounded(),
            }
        };
        if raw.len() > self.limit {
            return Err(TooLarge);
        }
        let begun = std::mem::replace(&mut self.begun, true);
        let data = data(&raw, !begun);
        Ok(Some(Event { raw, data }))
    }

    fn bounded(&self) -> Result<Option<Event>, TooLarge> {
        if self.partial.len() > self.limit { Err(TooLarge) } else { Ok(None) }
    }
}

/// An event of this data: what replaces a filtered one. `like` keeps its other fields (`id`, `event`, `retry`).
pub(crate) fn event(like: &Event, data: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 64);
    for line in lines(&like.raw) {
        let (name, _) = field(line);
        if matches!(name, b"id" | b"event" | b"retry") {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
        }
    }
    for line in data.split(['\n', '\r']) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
    out.freeze()
}

/// Where the first event ends, after its blank line. A `\r` at the very end may be half of `\r\n`: it waits.
fn find_end(bytes: &[u8], search: &mut Search) -> Option<usize> {
    while let Some(rest) = bytes.get(search.at..) {
        let Some(found) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            search.at = bytes.len();
            return None;
        };
        let end = search.at + found;
        let after = match (rest.get(found), bytes.get(end + 1)) {
            (Some(b'\r'), None) => {
                search.at = end;
                return None;
            }
            (Some(b'\r'), Some(b'\n')) => end + 2,
            _ => end + 1,
        };
        let blank = search.line == end;
        *search = Search { at: after, line: after };
        if blank {
            return Some(after);
        }
    }
    None
}

fn data(raw: &Bytes, first: bool) -> Option<Bytes> {
    let body = if first && raw.starts_with(b"\xEF\xBB\xBF") { raw.slice(3..) } else { raw.clone() };
    let mut values = lines(&body).filter_map(|line| match field(line) {
        (b"data", value) => Some(value),
        _ => None,
    });
    let one = values.next()?;
    let Some(two) = values.next() else {
        return Some(body.slice_ref(one));
    };
    let mut joined = BytesMut::from(one);
    for value in std::iter::once(two).chain(values) {
        joined.extend_from_slice(b"\n");
        joined.extend_from_slice(value);
    }
    Some(joined.freeze())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

/// > If the line contains a colon: … the field's name before it, and its value after it, less one leading space.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return (line, b"");
    };
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&str]) -> Vec<(String, Option<String>)> {
        let mut decoder = Decoder::new(1000);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk.as_bytes()));
            while let Some(event) = decoder.next().unwrap() {
                let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                events.push((text(&event.raw), event.data.as_ref().map(text)));
            }
        }
        events
    }

    #[test]
    fn reads_events_of_every_line_end_however_they_are_cut() {
        for text in [
            "id: 1\ndata: a\n\n: c\n\ndata:b\ndata: c\n\n",
            "id: 1\r\ndata: a\r\n\r\n: c\r\n\r\ndata:b\r\ndata: c\r\n\r\n",
        ] {
            for size in 1..=text.len() {
                let bytes: Vec<_> =
                    text.as_bytes().chunks(size).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
                let events = decode(&bytes);
                let data: Vec<_> = events.iter().map(|(_, data)| data.as_deref()).collect();
                // A trailing `\r` waits for its `\n`, so nothing is cut between them.
                assert_eq!(data, [Some("a"), None, Some("b\nc")], "{size}");
                assert_eq!(events.iter().map(|(raw, _)| raw.as_str()).collect::<String>(), text);
            }
        }
        let data: Vec<_> = decode(&["data: a\r\rdata: b\r\r", "\r"]).into_iter().map(|(_, data)| data).collect();
        assert_eq!(data[..2], [Some("a".to_owned()), Some("b".to_owned())]);
    }

    #[test]
    fn a_byte_order_mark_hides_no_data() {
        assert_eq!(decode(&["\u{feff}data: a\n\n"])[0].1.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_not_complete_is_not_an_event() {
        assert_eq!(decode(&["data: a\n"]), []);
    }

    #[test]
    fn an_event_without_end_is_too_large() {
        let mut decoder = Decoder::new(10);
        decoder.push(Bytes::from_static(b"data: 12345"));
        assert_eq!(decoder.next(), Err(TooLarge));
        let mut decoder = Decoder::new(10);
        decoder.push(Bytes::from_static(b"data: 12345\n\n"));
        assert_eq!(decoder.next(), Err(TooLarge));
    }

    #[test]
    fn a_replaced_event_keeps_its_id() {
        let mut decoder = Decoder::new(100);
        decoder.push(Bytes::from_static(b": x\nid: 7\nevent: message\ndata: old\n\n"));
        let old = decoder.next().unwrap().unwrap();
        assert_eq!(event(&old, "new"), "id: 7\nevent: message\ndata: new\n\n");
    }
}
