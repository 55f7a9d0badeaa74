//! Group commit: whatever many requests want written at one moment shares a transaction and one wait for the disk.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{
    service::{desk::DeskError, metrics::Metrics},
    store::{AuditEntry, Store, Write, Written},
};

/// The way to the one task that writes.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    write: Write,
    done: oneshot::Sender<Result<Written, DeskError>>,
}

impl Ledger {
    /// The ledger, and the task that must run for it; it ends when the last ledger is dropped.
    pub(crate) fn new(store: Box<dyn Store>, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let (orders, waiting) = mpsc::channel(QUEUE);
        (Self { orders }, keep_writing(store, waiting, metrics))
    }

    /// Writes; what is answered is durable.
    pub(crate) async fn write(&self, write: Write) -> Result<Written, DeskError> {
        let (done, answer) = oneshot::channel();
        self.orders.try_send(Order { write, done }).map_err(|_| DeskError::Busy)?;
        answer.await.unwrap_or(Err(DeskError::Busy))
    }

    /// Whether nobody writes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.orders.is_closed()
    }

    /// Writes a line that nobody waits for.
    pub(crate) fn note(&self, entry: AuditEntry) {
        let (done, _) = oneshot::channel();
        if self.orders.try_send(Order { write: Write::Audit(entry), done }).is_err() {
            tracing::warn!("too much is waiting to be written: a refusal is not in the audit trail");
        }
    }
}

async fn keep_writing(mut store: Box<dyn Store>, mut waiting: mpsc::Receiver<Order>, metrics: Arc<Metrics>) {
    let mut orders = Vec::with_capacity(BATCH);
    while gather(&mut waiting, &mut orders).await {
        let (writes, answers): (Vec<_>, Vec<_>) = orders.drain(..).map(|order| (order.write, order.done)).unzip();
        match store.commit(&writes).await {
            Ok(written) => {
                metrics.committed(writes.len());
                for (done, written) in answers.into_iter().zip(written) {
                    // Whoever asked may have gone; what was written stands.
                    let _gone = done.send(Ok(written));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                metrics.commit_failed();
                for done in answers {
                    let _gone = done.send(Err(DeskError::Store(Arc::clone(&error))));
                }
            }
        }
    }
}

/// Waits for the first, and then for those who are about to come, a few turns of the scheduler long: each that runs before the
/// batch is closed is one less that waits for the next. `false` where nobody can come any more.
pub(super) async fn gather<T>(waiting: &mut mpsc::Receiver<T>, batch: &mut Vec<T>) -> bool {
    let mut seen = waiting.recv_many(batch, BATCH).await;
    for _ in 0..TURNS {
        let room = BATCH.saturating_sub(batch.len());
        if seen == 0 || room == 0 {
            break;
        }
        tokio::task::yield_now().await;
        let before = batch.len();
        batch.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(room));
        seen = batch.len() - before;
    }
    !batch.is_empty()
}

/// What may wait to be written before callers are told to come back.
const QUEUE: usize = 4096;
/// How often a batch waits for the next to come.
const TURNS: usize = 4;
/// What shares a transaction at most.
const BATCH: usize = 512;
