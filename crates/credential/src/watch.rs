//! Following a directory: the newest good credential and trust, published as they change.
//!
//! This module alone in the crate spawns a task. Files are watched, and read again at a slow pace in case a watch is lost.
//! What is new and broken is not published: the last good stays, and [`Status`] says so. What is older than what was once
//! accepted is refused, over restarts too when a state file is given. A bundle that is gone is withdrawn.

mod ending;
mod fed;
mod floor;
mod notices;
mod reload;
mod slot;
mod status;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countermark_identity::{Clock, TrustDomain};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

pub use self::fed::{CrlFeed, Fetched};
pub use self::floor::FloorError;
use self::notices::Notices;
use self::reload::{Changes, Reloader};
pub use self::status::{Health, Status};
use crate::credential::Credential;
use crate::directory::LoadError;
use crate::source::{Source, TrustSource};
use crate::trust::{Revocation, Trust};

/// Which files are followed, and how.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "users build it; nothing in it has a safe default but the poll")]
pub struct DirectoryConfig {
    /// The identity directory, with `trust` in it.
    pub dir: PathBuf,
    /// A file with the revocation lists of the credential's own trust domain, instead of that in the directory.
    pub crl: Option<PathBuf>,
    /// Revocation lists of the credential's own trust domain that are fetched, beside those.
    pub feed: Option<CrlFeed>,
    /// Where the highest numbers that were accepted are kept; without it they are forgotten at the end of the process.
    pub state: Option<PathBuf>,
    /// How often everything is read again, whatever the watch says.
    pub poll: Duration,
    /// What a missing revocation list means, where it is not [`Revocation::Required`].
    pub revocation: BTreeMap<TrustDomain, Revocation>,
}

impl DirectoryConfig {
    /// Follows `dir`, reading it again every 30 seconds.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            crl: None,
            feed: None,
            state: None,
            poll: Duration::from_secs(30),
            revocation: BTreeMap::new(),
        }
    }
}

/// A directory that is followed until this is dropped.
#[derive(Debug)]
pub struct DirectorySource {
    credential: watch::Receiver<Arc<Credential>>,
    trust: watch::Receiver<Arc<Trust>>,
    status: watch::Receiver<Status>,
    revocation: watch::Sender<BTreeMap<TrustDomain, Revocation>>,
    task: AbortHandle,
}

impl DirectorySource {
    /// Loads the directory and follows it on the current tokio runtime.
    ///
    /// The first credential must be good and one bundle must be; what else is broken shows in [`Self::status`].
    pub fn spawn(config: DirectoryConfig, clock: Arc<dyn Clock>) -> Result<Self, WatchError> {
        let wake = Arc::new(Notify::new());
        // Watched before the first reading, so that no change falls between the two.
        let mut notices = Notices::new(Arc::clone(&wake));
        notices.follow(&config);
        let (revocation, modes) = watch::channel(config.revocation.clone());
        let (reloader, first) = Reloader::start(config.clone(), clock.now())?;
        first.status.log();
        let (credential_out, credential) = watch::channel(first.credential);
        let (trust_out, trust) = watch::channel(first.trust);
        let (status_out, status) = watch::channel(first.status);
        let outputs = Outputs { credential: credential_out, trust: trust_out, status: status_out };
        let follower = Follower { config, clock, wake, notices, modes, outputs };
        let task = tokio::spawn(follower.run(reloader)).abort_handle();
        Ok(Self { credential, trust, status, revocation, task })
    }

    /// Follows the credential.
    #[must_use]
    pub fn credential(&self) -> watch::Receiver<Arc<Credential>> {
        self.credential.clone()
    }

    /// Follows the trust.
    #[must_use]
    pub fn trust(&self) -> watch::Receiver<Arc<Trust>> {
        self.trust.clone()
    }

    /// Follows whether what is published is what the files say.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Changes what a missing revocation list means, as a new policy says it.
    pub fn set_revocation(&self, revocation: BTreeMap<TrustDomain, Revocation>) {
        self.revocation.send_if_modified(|current| {
            let changed = *current != revocation;
            *current = revocation;
            changed
        });
    }
}

impl Source for DirectorySource {
    fn watch(&self) -> watch::Receiver<Arc<Credential>> {
        self.credential()
    }
}

impl TrustSource for DirectorySource {
    fn watch(&self) -> watch::Receiver<Arc<Trust>> {
        self.trust()
    }
}

impl Drop for DirectorySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a directory cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The state file is broken: without it an old revocation list could come back.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The directory gives no credential or no trust.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The directory gives trust bundles, and none that can be used.
    #[error("no trust bundle can be used: {reason}")]
    Trust {
        /// What is wrong with each.
        reason: String,
    },
}

struct Outputs {
    credential: watch::Sender<Arc<Credential>>,
    trust: watch::Sender<Arc<Trust>>,
    status: watch::Sender<Status>,
}

impl Outputs {
    /// Publishes the trust first, so that a credential is never there before the roots that know it.
    fn publish(&self, changes: Changes) {
        if let Some(trust) = changes.trust {
            self.trust.send_replace(trust);
        }
        if let Some(credential) = changes.credential {
            tracing::info!(serial = %credential.leaf().serial(), "the credential changed");
            self.credential.send_replace(credential);
        }
        self.tell(changes.status);
    }

    fn tell(&self, status: Status) {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            if changed {
                status.log();
                *current = status;
            }
            changed
        });
    }

    /// Says that nothing is followed any more, which must not look like health.
    fn stop(&self) {
        let stopped = Health::of(&["the files are no longer followed; restart".to_owned()]);
        let status = Status { credential: stopped.clone(), trust: stopped, ..self.status.borrow().clone() };
        self.tell(status);
    }
}

/// The one task.
struct Follower {
    config: DirectoryConfig,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    notices: Notices,
    modes: watch::Receiver<BTreeMap<TrustDomain, Revocation>>,
    outputs: Outputs,
}

impl Follower {
    async fn run(mut self, mut reloader: Reloader) {
        let mut poll = tokio::time::interval(self.config.poll.max(SETTLE));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                () = self.wake.notified() => tokio::time::sleep(SETTLE).await,
                changed = self.modes.changed() => if changed.is_err() { return },
                () = fetched(&mut self.config.feed) => {}
            }
            let (modes, now) = (self.modes.borrow_and_update().clone(), self.clock.now());
            let (mut notices, config) = (self.notices, self.config.clone());
            let reading = tokio::task::spawn_blocking(move || {
                // A switch may have brought directories that are not watched yet; they are read after they are watched.
                notices.follow(&config);
                let changes = reloader.reload(modes, now);
                (notices, reloader, changes)
            });
            let Ok((notices, back, changes)) = reading.await else { return self.outputs.stop() };
            (self.notices, reloader) = (notices, back);
            self.outputs.publish(changes);
        }
    }
}

/// Waits for the next lists that are fetched; for ever, where none are.
async fn fetched(feed: &mut Option<CrlFeed>) {
    if let Some(feed) = feed
        && feed.lists.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// How long after a change the files are left to settle.
const SETTLE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
