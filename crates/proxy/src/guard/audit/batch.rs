//! Group commit: the lines of one turn of the event loop go out in one write, and each call waits for the write that its line is in.
//!
//! The first line of a batch makes its call the one that writes. It lets every call that is ready now add its line, then writes
//! all of them and wakes the others.

use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::LastFailure;
use crate::guard::Metrics;

/// The lines that wait to be written, and where to.
#[derive(Debug)]
pub(super) struct Batches {
    gathering: Mutex<Gathering>,
    sink: Mutex<Sink>,
    failure: Arc<LastFailure>,
    metrics: Arc<Metrics>,
}

/// The batch that lines are added to now.
#[derive(Debug, Default)]
struct Gathering {
    text: Vec<u8>,
    batch: Arc<Batch>,
    /// Some call has it to write.
    led: bool,
}

/// What those who wait for one write share.
#[derive(Debug, Default)]
struct Batch {
    outcome: OnceLock<Outcome>,
    waiting: Mutex<Vec<Waker>>,
}

/// How much of a batch was written, and why no more.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    bytes: usize,
    error: Option<io::ErrorKind>,
}

/// One line's way into the sink; if it is given up, the line is written all the same.
#[derive(Debug)]
pub(super) struct Written {
    batches: Arc<Batches>,
    batch: Arc<Batch>,
    /// Where the line ends in its batch.
    end: usize,
    part: Part,
    /// The place of its waker.
    place: Option<usize>,
}

/// What a call has to do for its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Let the others add theirs.
    Yields,
    Writes,
    Waits,
}

impl Batches {
    pub(super) fn new(sink: Sink, failure: Arc<LastFailure>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { gathering: Mutex::default(), sink: Mutex::new(sink), failure, metrics })
    }

    /// Adds one line to the batch of this moment.
    ///
    /// # Errors
    /// The sink stalls, and as much waits for it as may.
    pub(super) fn add(self: &Arc<Self>, line: impl FnOnce(&mut Vec<u8>)) -> io::Result<Written> {
        let mut gathering = lock(&self.gathering);
        if gathering.text.len() > MOST {
            self.metrics.audit_failed(1);
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the audit is not written as fast as calls come"));
        }
        line(&mut gathering.text);
        gathering.text.push(b'\n');
        let part = if std::mem::replace(&mut gathering.led, true) { Part::Waits } else { Part::Yields };
        let (batch, end) = (Arc::clone(&gathering.batch), gathering.text.len());
        Ok(Written { batches: Arc::clone(self), batch, end, part, place: None })
    }

    /// Writes what was gathered so far.
    fn write(&self) {
        // The sink first: batches go out in the order in which they were gathered.
        let mut sink = lock(&self.sink);
        let Gathering { mut text, batch, .. } = std::mem::take(&mut *lock(&self.gathering));
        let (bytes, written) = sink.write(&text);
        let error = written.as_ref().err().map(io::Error::kind);
        // Set once: a batch is taken once.
        let _ = batch.outcome.set(Outcome { bytes, error });
        self.failure.note(written.is_ok());
        drop(sink);
        let waiting = std::mem::take(&mut *lock(&batch.waiting));
        waiting.into_iter().for_each(Waker::wake);
        if let Err(error) = &written {
            tracing::error!(%error, "the audit cannot be written: calls are refused until it can");
            let lost = text.get(bytes..).unwrap_or_default();
            self.metrics.audit_failed(lost.iter().filter(|byte| **byte == b'\n').count());
        }
        text.clear();
        let mut gathering = lock(&self.gathering);
        if gathering.text.capacity() == 0 && text.capacity() <= KEPT {
            gathering.text = text;
        }
    }
}

impl Written {
    fn poll_outcome(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.outcome.get().is_none() {
            let mut waiting = lock(&self.batch.waiting);
            match self.place.and_then(|place| waiting.get_mut(place)) {
                Some(waker) => waker.clone_from(cx.waker()),
                None => {
                    self.place = Some(waiting.len());
                    waiting.push(cx.waker().clone());
                }
            }
        }
        // Looked at again, since it may have been set in between.
        match self.batch.outcome.get() {
            // A line that is out whole counts, whatever became of those after it.
            Some(Outcome { bytes, error: Some(error) }) if *bytes < self.end => Poll::Ready(Err((*error).into())),
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl Future for Written {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.part {
            Part::Yields => {
                self.part = Part::Writes;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Part::Writes => {
                self.part = Part::Waits;
                self.batches.write();
            }
            Part::Waits => {}
        }
        self.poll_outcome(cx)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.part != Part::Waits {
            self.batches.write();
        }
    }
}

/// Where the lines go.
#[derive(Debug)]
pub(super) struct Sink {
    to: To,
    /// The last write stopped somewhere in a line.
    torn: bool,
}

#[derive(Debug)]
enum To {
    Stdout,
    File(File),
}

impl Sink {
    pub(super) fn stdout() -> Self {
        Self { to: To::Stdout, torn: false }
    }

    pub(super) fn file(file: File) -> Self {
        Self { to: To::File(file), torn: false }
    }

    /// Writes lines, and says how many of their bytes are out. Those that follow a torn one start on a line of their own.
    fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.torn
            && let Err(error) = self.to.write(b"\n")
        {
            return (0, Err(error));
        }
        let mut bytes = 0;
        let written = self.to.write_all(lines, &mut bytes);
        let inside = lines.get(..bytes).is_some_and(|out| !out.is_empty() && !out.ends_with(b"\n"));
        // What standard output has taken of a piece that failed is not known.
        self.torn = written.is_err() && (inside || matches!(self.to, To::Stdout));
        (bytes, written)
    }
}

impl To {
    fn write_all(&mut self, lines: &[u8], bytes: &mut usize) -> io::Result<()> {
        while let Some(rest) = lines.get(*bytes..).filter(|rest| !rest.is_empty()) {
            let piece = match self {
                Self::File(_) => rest,
                Self::Stdout => whole_lines(rest, AT_ONCE),
            };
            match self.write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *bytes += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush()).map(|()| bytes.len())
            }
        }
    }
}

/// The first lines that fit into so many bytes, or the first line where none does.
fn whole_lines(text: &[u8], most: usize) -> &[u8] {
    let newline = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
    let fitting = text.get(..most.min(text.len())).unwrap_or_default();
    let end = newline(fitting).or_else(|| text.iter().position(|byte| *byte == b'\n')).map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer up to this size is kept for the next batch.
const KEPT: usize = 64 * 1024;
/// What may wait for a sink that stalls; calls beyond it are refused.
const MOST: usize = 1024 * 1024;
/// A pipe takes so many bytes without letting another writer in between (PIPE_BUF on Linux).
const AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use countermark_testkit::MockClock;
    use futures_util::FutureExt;

    use super::*;

    fn batches(file: &File) -> Arc<Batches> {
        let failure = LastFailure::new(Arc::new(MockClock::new()));
        Batches::new(Sink::file(file.try_clone().unwrap()), failure, Arc::new(Metrics::new()))
    }

    fn add(batches: &Arc<Batches>, line: &str) -> Written {
        batches.add(|text| text.extend_from_slice(line.as_bytes())).unwrap()
    }

    fn text(file: &mut File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn the_lines_of_one_moment_are_written_together_and_none_waits_for_ever() {
        let mut file = tempfile::tempfile().unwrap();
        let batches = batches(&file);
        let mut first = add(&batches, "1");
        let mut second = add(&batches, "2");
        assert!((&mut second).now_or_never().is_none(), "it waits for the first");
        assert!((&mut first).now_or_never().is_none(), "it lets others add theirs");
        assert_eq!(text(&mut file), "");
        let third = add(&batches, "3");
        first.now_or_never().unwrap().unwrap();
        second.now_or_never().unwrap().unwrap();
        third.now_or_never().unwrap().unwrap();
        assert_eq!(text(&mut file), "1\n2\n3\n");
    }

    #[tokio::test]
    async fn a_line_whose_call_is_given_up_is_written_and_strands_nobody() {
        let mut file = tempfile::tempfile().unwrap();
        let batches = batches(&file);
        let first = add(&batches, "1");
        let second = add(&batches, "2");
        drop(first);
        second.now_or_never().unwrap().unwrap();
        drop(add(&batches, "3"));
        assert_eq!(text(&mut file), "1\n2\n3\n");
    }

    #[tokio::test]
    async fn a_write_that_fails_refuses_every_call_of_its_batch_until_one_succeeds() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let batches = batches(&full);
        let (first, second) = (add(&batches, "1"), add(&batches, "2"));
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(batches.failure.problem().is_some());
        let mut file = tempfile::tempfile().unwrap();
        lock(&batches.sink).to = To::File(file.try_clone().unwrap());
        add(&batches, "3").await.unwrap();
        assert_eq!(text(&mut file), "3\n");
        assert!(batches.failure.problem().is_none());
    }

    #[tokio::test]
    async fn of_a_batch_that_breaks_off_the_lines_that_are_out_count_and_the_next_starts_on_a_line_of_its_own() {
        let mut file = tempfile::tempfile().unwrap();
        let batches = batches(&file);
        let (out, torn, lost) = (add(&batches, "1"), add(&batches, "22"), add(&batches, "3"));
        // As if the disk had been full after the third byte.
        let Gathering { batch, .. } = std::mem::take(&mut *lock(&batches.gathering));
        file.write_all(b"1\n2").unwrap();
        lock(&batches.sink).torn = true;
        batch.outcome.set(Outcome { bytes: 3, error: Some(io::ErrorKind::StorageFull) }).unwrap();
        let settled = |mut written: Written| {
            written.part = Part::Waits;
            written.now_or_never().unwrap()
        };
        settled(out).unwrap();
        settled(torn).unwrap_err();
        settled(lost).unwrap_err();
        add(&batches, "4").await.unwrap();
        assert_eq!(text(&mut file), "1\n2\n4\n");
    }

    #[tokio::test]
    async fn a_sink_that_stalls_holds_so_much_and_no_more() {
        let file = tempfile::tempfile().unwrap();
        let batches = batches(&file);
        let line = "x".repeat(64 * 1024);
        let waiting: Vec<_> = (0..16).map(|_| add(&batches, &line)).collect();
        assert_eq!(batches.add(|_| ()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(waiting);
        add(&batches, "1").await.unwrap();
    }

    #[test]
    fn a_pipe_is_given_whole_lines() {
        assert_eq!(whole_lines(b"a\nb\nc\n", 5), b"a\nb\n");
        assert_eq!(whole_lines(b"a\nb\n", 4), b"a\nb\n");
        assert_eq!(whole_lines(b"abc\nd\n", 2), b"abc\n", "one that does not fit goes by itself");
    }
}
