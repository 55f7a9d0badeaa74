//! A rotation that runs, and what it tells.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Told};
use crate::run::{Handle, Observe, Rotation, StartError};

struct Ear {
    sender: mpsc::UnboundedSender<Told>,
    all: Mutex<Vec<Event>>,
}

impl Observe for Ear {
    fn told(&self, told: &Told) {
        self.all.lock().unwrap().push(told.event.clone());
        let _ = self.sender.send(told.clone());
    }
}

/// A rotation that runs.
pub(in crate::run) struct Running {
    pub(in crate::run) handle: Handle,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Told>>,
    heard: Arc<Ear>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl Running {
    /// What `rotate` makes, told to an ear, until its end.
    pub(in crate::run) fn begin(
        rotate: impl FnOnce(Arc<dyn Observe>) -> Result<(Rotation, Handle), StartError>,
    ) -> Result<Self, StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        let heard = Arc::new(Ear { sender, all: Mutex::default() });
        let (rotation, handle) = rotate(heard.clone())?;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(rotation.run(shutdown.clone()));
        Ok(Self { handle, events: tokio::sync::Mutex::new(events), heard, shutdown, task })
    }

    /// Until there is other trust material.
    pub(in crate::run) async fn moved(&self) {
        self.next(|event| matches!(event, Event::TrustMoved)).await;
    }

    /// Until a hook is done.
    pub(in crate::run) async fn hooked(&self, hook: usize) {
        self.next(|event| *event == Event::HookDone { hook }).await;
    }

    /// Until other trust material has been carried on by a hook.
    pub(in crate::run) async fn carried_on(&self, hook: usize) {
        self.moved().await;
        self.hooked(hook).await;
    }

    /// Until this generation is there.
    pub(in crate::run) async fn renewed(&self, wanted: u64) {
        self.next(|event| matches!(event, Event::Renewed { generation, .. } if *generation == wanted)).await;
    }

    /// The next event of this kind, within two days.
    pub(in crate::run) async fn next(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        self.wait(wanted).await.event
    }

    /// Whose the next event of this kind is.
    pub(in crate::run) async fn next_of(&self, wanted: impl Fn(&Event) -> bool) -> String {
        self.wait(wanted).await.credential.unwrap().to_string()
    }

    async fn wait(&self, wanted: impl Fn(&Event) -> bool) -> Told {
        let mut events = self.events.lock().await;
        let wait = async {
            loop {
                let told = events.recv().await.unwrap();
                if wanted(&told.event) {
                    return told;
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(2 * 86_400), wait).await {
            Ok(told) => told,
            Err(_) => {
                let told = self.told();
                panic!("never told; the last were: {:?}", &told[told.len().saturating_sub(12)..])
            }
        }
    }

    pub(in crate::run) fn told(&self) -> Vec<Event> {
        self.heard.all.lock().unwrap().clone()
    }

    pub(in crate::run) async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}
