//! MCP's framing of byte streams: one message a line, in UTF-8. Also for raw TLS, not only for standard streams.
//!
//! > Messages are delimited by newlines, and MUST NOT contain embedded newlines.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

/// Frames messages as lines of bounded length. What is in a line is [`parse`](crate::parse)'s to judge.
#[derive(Clone, Debug)]
pub struct LineCodec {
    limit: usize,
    searched: usize,
}

/// Why a stream of lines cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LineError {
    /// A line is longer than the limit.
    #[error("a line is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The stream ended inside a line.
    #[error("the stream ended inside a line")]
    Unfinished,
    /// A message to be sent contains a line break where no white space may stand.
    #[error("a message to be sent is not one JSON text")]
    NotJson,
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Io(#[from] io::Error),
}

impl LineCodec {
    /// Lines of at most `limit` bytes, their end not counted.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, searched: 0 }
    }
}

impl Decoder for LineCodec {
    type Item = Bytes;
    type Error = LineError;

    /// The next line that is not empty, without its end.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, LineError> {
        loop {
            let unsearched = buffer.get(self.searched..).unwrap_or_default();
            let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = buffer.len();
                // A `\r` may be half of the end.
                return if buffer.len() > self.limit.saturating_add(1) { Err(self.too_long()) } else { Ok(None) };
            };
            let mut line = buffer.split_to(self.searched + found);
            buffer.advance(1);
            self.searched = 0;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.limit {
                return Err(self.too_long());
            }
            if !line.is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, LineError> {
        match self.decode(buffer)? {
            None if !buffer.is_empty() => Err(LineError::Unfinished),
            line => Ok(line),
        }
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for LineCodec {
    type Error = LineError;

    /// Writes a message as one line. Between JSON's tokens a line break is white space and becomes a space.
    fn encode(&mut self, message: T, buffer: &mut BytesMut) -> Result<(), LineError> {
        let message = message.as_ref();
        if message.len() > self.limit {
            return Err(self.too_long());
        }
        let begun = buffer.len();
        buffer.reserve(message.len() + 1);
        let mut in_string = false;
        let mut escaped = false;
        for byte in message {
            match byte {
                b'\n' | b'\r' if in_string => {
                    buffer.truncate(begun);
                    return Err(LineError::NotJson);
                }
                b'\n' | b'\r' => buffer.put_u8(b' '),
                byte => buffer.put_u8(*byte),
            }
            in_string ^= *byte == b'"' && !escaped;
            escaped = in_string && *byte == b'\\' && !escaped;
        }
        buffer.put_u8(b'\n');
        Ok(())
    }
}

impl LineCodec {
    const fn too_long(&self) -> LineError {
        LineError::TooLong { limit: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: &mut LineCodec, text: &str, piece: usize) -> Result<Vec<String>, LineError> {
        let mut buffer = BytesMut::new();
        let mut lines = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            buffer.extend_from_slice(bytes);
            while let Some(line) = codec.decode(&mut buffer)? {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        while let Some(line) = codec.decode_eof(&mut buffer)? {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
        Ok(lines)
    }

    #[test]
    fn reads_lines_however_they_are_cut() {
        for piece in 1..30 {
            let lines = decode(&mut LineCodec::new(8), "{\"a\":1}\n\r\n\n12345678\r\n{}\n", piece).unwrap();
            assert_eq!(lines, ["{\"a\":1}", "12345678", "{}"], "{piece}");
        }
    }

    #[test]
    fn refuses_lines_beyond_the_limit_before_they_end() {
        for text in ["123456789\n", "1234567890", "123456789\r\n"] {
            for piece in 1..12 {
                let refused = decode(&mut LineCodec::new(8), text, piece);
                assert!(matches!(refused, Err(LineError::TooLong { limit: 8 })), "{text:?} {piece}");
            }
        }
    }

    #[test]
    fn an_unfinished_line_is_no_message() {
        assert!(matches!(decode(&mut LineCodec::new(8), "{}\n{}", 3), Err(LineError::Unfinished)));
    }

    #[test]
    fn writes_one_line_whatever_the_layout_was() {
        let mut buffer = BytesMut::new();
        LineCodec::new(100).encode("{\n  \"a\\\"\": \"b\\\\\",\r\n  \"c\": 1\n}", &mut buffer).unwrap();
        assert_eq!(buffer, "{   \"a\\\"\": \"b\\\\\",    \"c\": 1 }\n");
        assert!(serde_json::from_slice::<serde_json::Value>(&buffer).is_ok());
        let mut untouched = BytesMut::new();
        let smuggled = LineCodec::new(100).encode("{\"a\":\"\n{}\"}", &mut untouched);
        assert!(matches!(smuggled, Err(LineError::NotJson)));
        assert!(untouched.is_empty(), "nothing is half-written");
        let long = LineCodec::new(1).encode("{}", &mut BytesMut::new());
        assert!(matches!(long, Err(LineError::TooLong { .. })));
    }
}
