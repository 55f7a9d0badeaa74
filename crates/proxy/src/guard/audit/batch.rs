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
}

/// What those who wait for one write share.
#[derive(Debug, Default)]
struct Batch {
    /// The kind of the error, if the write failed.
    outcome: OnceLock<Result<(), io::ErrorKind>>,
    waiting: Mutex<Vec<Waker>>,
}

/// One line's way into the sink; if it is given up, the line is written all the same.
#[derive(Debug)]
pub(super) struct Written {
    batches: Arc<Batches>,
    batch: Arc<Batch>,
    part: Part,
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
    pub(super) fn add(self: &Arc<Self>, line: impl FnOnce(&mut Vec<u8>)) -> Written {
        let mut gathering = lock(&self.gathering);
        let first = gathering.text.is_empty();
        line(&mut gathering.text);
        gathering.text.push(b'\n');
        let part = if first { Part::Yields } else { Part::Waits };
        Written { batches: Arc::clone(self), batch: Arc::clone(&gathering.batch), part }
    }

    /// Writes what was gathered so far.
    fn write(&self) {
        // The sink first: batches go out in the order in which they were gathered.
        let mut sink = lock(&self.sink);
        let Gathering { mut text, batch } = std::mem::take(&mut *lock(&self.gathering));
        let written = sink.write(&text);
        drop(sink);
        if let Err(error) = &written {
            tracing::error!(%error, "the audit cannot be written: calls are refused until it can");
            self.metrics.audit_failed(text.iter().filter(|byte| **byte == b'\n').count());
        }
        self.failure.note(written.is_ok());
        // Set once: a batch is taken once.
        let _ = batch.outcome.set(written.map_err(|error| error.kind()));
        for waker in std::mem::take(&mut *lock(&batch.waiting)) {
            waker.wake();
        }
        text.clear();
        let mut gathering = lock(&self.gathering);
        if gathering.text.capacity() == 0 && text.capacity() <= KEPT {
            gathering.text = text;
        }
    }
}

impl Batch {
    fn poll(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.outcome.get().is_none() {
            lock(&self.waiting).push(cx.waker().clone());
        }
        // Looked at again, since it may have been set in between.
        match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome.map_err(io::Error::from)),
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
                Poll::Pending
            }
            Part::Writes => {
                self.part = Part::Waits;
                self.batches.write();
                self.batch.poll(cx)
            }
            Part::Waits => self.batch.poll(cx),
        }
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

    /// Lines that follow a torn one start on a line of their own.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        let mut write = |bytes: &[u8]| match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            To::File(file) => file.write_all(bytes),
        };
        if torn {
            write(b"\n")?;
        }
        write(lines)?;
        self.torn = false;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer up to this size is kept for the next batch.
const KEPT: usize = 64 * 1024;

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
        batches.add(|text| text.extend_from_slice(line.as_bytes()))
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
    async fn a_write_that_fails_refuses_every_call_of_its_batch_and_the_next_starts_on_a_line_of_its_own() {
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
        assert_eq!(text(&mut file), "\n3\n");
        assert!(batches.failure.problem().is_none());
    }
}
