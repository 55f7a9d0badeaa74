//! A line on a terminal's stderr while something takes longer than a moment.

use std::{
    io::{IsTerminal, Write},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Shows `what` with the seconds that passed, from the first second on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts watching; where stderr is no terminal nothing is ever written.
    pub(crate) fn start(what: impl Into<String>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { done: None, thread: None };
        }
        let what = what.into();
        let (done, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut shown = false;
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                shown = true;
                eprint!("\r{what} … {} s", begun.elapsed().as_secs());
                let _ = std::io::stderr().flush();
            }
            if shown {
                eprint!("\r\x1b[K");
            }
        });
        Self { done: Some(done), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
