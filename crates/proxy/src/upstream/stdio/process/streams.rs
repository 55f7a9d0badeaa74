//! The tasks that carry a process's three streams.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lines::{Line, bounded_line};
use crate::upstream::stdio::desk::Desk;

/// Longer lines of stderr are cut.
const LOG_LINE: usize = 4096;

/// Writes lines to the process until it is to end.
pub(super) async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<String>, end: CancellationToken) {
    loop {
        let line = tokio::select! {
            biased;
            () = end.cancelled() => break,
            line = queue.recv() => line,
        };
        let Some(mut line) = line else { break };
        line.push('\n');
        let written = tokio::select! {
            biased;
            () = end.cancelled() => break,
            written = stdin.write_all(line.as_bytes()) => written,
        };
        if let Err(error) = written {
            tracing::warn!(%error, "the stdio server no longer reads");
            end.cancel();
            break;
        }
    }
}

/// What the reader is told.
pub(super) struct Reading {
    pub(super) end: CancellationToken,
    /// The longest line.
    pub(super) line: usize,
}

/// Gives the desk what the process writes.
pub(super) async fn read(stdout: ChildStdout, desk: Arc<Desk>, replies: mpsc::Sender<String>, reading: Reading) {
    let replies = { replies.downgrade() };
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        match bounded_line(&mut stdout, &mut line, reading.line).await {
            Ok(Line::Whole) => {
                let Ok(text) = std::str::from_utf8(&line) else {
                    tracing::warn!("the stdio server wrote a line that is not UTF-8");
                    continue;
                };
                if let (Some(reply), Some(replies)) = (desk.dispatch(text), replies.upgrade()) {
                    let _ = replies.try_send(reply);
                }
            }
            Ok(Line::TooLong) => {
                tracing::error!(limit = reading.line, "the stdio server wrote a line that is too long; it is ended");
                break;
            }
            Ok(Line::End) => break,
            Err(error) => {
                tracing::warn!(%error, "the stdio server cannot be read");
                break;
            }
        }
    }
    // Whatever was in flight fails now, not after the grace that the process is given to end.
    desk.close();
    reading.end.cancel();
}

/// Carries stderr to the log, escaped, each line cut at a bound.
pub(super) async fn log(stderr: ChildStderr, pid: i32) {
    let mut stderr = BufReader::with_capacity(LOG_LINE, stderr);
    let mut line = Vec::new();
    let mut cut = false;
    loop {
        match bounded_line(&mut stderr, &mut line, LOG_LINE).await {
            Ok(Line::Whole) if !std::mem::take(&mut cut) => say(pid, &line),
            Ok(Line::Whole) => {}
            Ok(Line::TooLong) => {
                if !std::mem::replace(&mut cut, true) {
                    say(pid, &line);
                }
                let Ok(rest) = stderr.fill_buf().await else { return };
                let skip = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                stderr.consume(skip);
            }
            Ok(Line::End) | Err(_) => return,
        }
    }
}

fn say(pid: i32, line: &[u8]) {
    tracing::info!(target: "countermark::stdio", pid, "{}", String::from_utf8_lossy(line).escape_debug());
}
