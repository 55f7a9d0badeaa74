//! The async runtimes: one thread for verbs that end, as many as there are cores for those that stay.

use std::future::Future;

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::failure::{Explain, Outcome};

/// Runs a short verb: one thread, started in microseconds.
pub(crate) fn short<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .or_failed("cannot start the runtime", "check the limits on threads and open files (ulimit -a)")?
        .block_on(work)
}

/// Runs a verb that serves.
pub(crate) fn long<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    // On one core a scheduler for many would only cost.
    let mut builder = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .or_failed("cannot start the runtime", "check the limits on threads and open files (ulimit -a)")?;
    let outcome = runtime.block_on(work);
    // A read of stdin cannot be cancelled, and must not keep the process after its work is done.
    runtime.shutdown_background();
    outcome
}

/// A token that SIGTERM and SIGINT cancel; a second one of them ends the process at once.
pub(crate) fn shutdown() -> Outcome<CancellationToken> {
    let next = "check that signals can be caught here";
    let mut terminate = signal(SignalKind::terminate()).or_failed("cannot catch SIGTERM", next)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_failed("cannot catch SIGINT", next)?;
    let token = CancellationToken::new();
    let ended = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Before anything is said: a log that nobody reads any more must not keep the process.
        ended.cancel();
        tracing::info!("ending; once more ends at once");
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(130);
    });
    Ok(token)
}
