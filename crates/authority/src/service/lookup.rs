//! Reading together: whatever many requests want looked up at one moment is one statement.

use std::{collections::HashMap, sync::Arc};

use countermark_identity::Serial;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    service::{desk::DeskError, ledger::gather},
    store::{Store, StoredLeaf},
};

/// The inventory, for reading.
pub(crate) type Reader = Arc<Mutex<Box<dyn Store>>>;

/// The way to the one task that looks certificates up.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
struct Question {
    serial: Serial,
    answer: oneshot::Sender<Result<Option<StoredLeaf>, DeskError>>,
}

impl Lookup {
    /// The lookup, and the task that must run for it; it ends when the last lookup is dropped.
    pub(crate) fn new(reader: Reader) -> (Self, impl Future<Output = ()> + Send) {
        let (questions, waiting) = mpsc::channel(QUEUE);
        (Self { questions }, keep_looking(reader, waiting))
    }

    /// Whether nobody looks any more.
    pub(crate) fn is_over(&self) -> bool {
        self.questions.is_closed()
    }

    /// The certificate of this serial.
    pub(crate) async fn leaf(&self, serial: &Serial) -> Result<Option<StoredLeaf>, DeskError> {
        let (answer, told) = oneshot::channel();
        let question = Question { serial: serial.clone(), answer };
        self.questions.try_send(question).map_err(|_| DeskError::Busy)?;
        told.await.unwrap_or(Err(DeskError::Busy))
    }
}

async fn keep_looking(reader: Reader, mut waiting: mpsc::Receiver<Question>) {
    let mut questions = Vec::new();
    while gather(&mut waiting, &mut questions).await {
        let serials: Vec<Serial> = questions.iter().map(|question| question.serial.clone()).collect();
        let mut store = reader.lock().await;
        let together = store
            .leaves(&serials)
            .await
            .map(|leaves| leaves.into_iter().map(|leaf| (leaf.record.serial.clone(), leaf)).collect::<HashMap<_, _>>());
        for Question { serial, answer } in questions.drain(..) {
            let found = match &together {
                Ok(known) => Ok(known.get(&serial).cloned()),
                // A row that cannot be read is the fault of one, and no reason to refuse the others.
                Err(_) => store.leaves(&[serial]).await.map(|mut leaves| leaves.pop()),
            };
            // Whoever asked may have gone.
            let _gone = answer.send(found.map_err(DeskError::from));
        }
    }
}

/// What may wait to be looked up before callers are told to come back.
const QUEUE: usize = 4096;
