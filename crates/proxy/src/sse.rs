//! Server-sent events: bytes to messages and back.

use bytes::{Bytes, BytesMut};

/// Collects events from pieces of any size; only the data of `message` events counts in MCP.
#[derive(Debug)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    limit: usize,
}

/// An event is longer than what is read into memory.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub(crate) struct EventTooLong {
    limit: usize,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { line: Vec::new(), data: Vec::new(), has_data: false, after_cr: false, limit }
    }

    /// Takes a piece of the stream and gives the data of each event that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<Bytes>, EventTooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > self.limit {
                return Err(EventTooLong { limit: self.limit });
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Bytes> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then(|| Bytes::from(data)).filter(|data| !data.is_empty());
        }
        let value = line.strip_prefix(b"data:").or_else(|| (line == b"data").then_some(&[][..]))?;
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        None
    }
}

/// One `message` event; `json` has no line break.
pub(crate) fn event(json: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(json.len() + 24);
    bytes.extend_from_slice(b"event: message\ndata: ");
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(b"\n\n");
    bytes.freeze()
}

/// A comment, so that nobody between takes a quiet stream for a dead one.
pub(crate) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&str]) -> Vec<String> {
        let mut decoder = Decoder::new(1024);
        pieces
            .iter()
            .flat_map(|piece| decoder.push(piece.as_bytes()).unwrap())
            .map(|data| String::from_utf8(data.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn events_arrive_whole_whatever_the_pieces() {
        let text =
            ": hello\r\nevent: message\r\nid: 1\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\n\ndata\n\nretry: 3\n\n";
        let whole = decode(&[text]);
        assert_eq!(whole, ["{\"a\":1}", "x\ny"]);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(decode(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn what_was_encoded_decodes() {
        assert_eq!(decode(&[std::str::from_utf8(&event("{}")).unwrap()]), ["{}"]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        assert!(Decoder::new(16).push(&[b'a'; 32]).is_err());
    }
}
