//! Newline-delimited messages, bounded.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What a reader came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, without its end.
    Whole,
    /// More than the limit; what was read of it stands in the buffer.
    TooLong,
    /// No more.
    End,
}

/// Reads one line of at most `limit` bytes.
pub(crate) async fn bounded_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    line: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<Line> {
    line.clear();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(if line.is_empty() { Line::End } else { Line::Whole });
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let taken = newline.unwrap_or(buffer.len());
        if line.len() + taken > limit {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        reader.consume(taken + usize::from(newline.is_some()));
        if newline.is_some() {
            return Ok(Line::Whole);
        }
    }
}
