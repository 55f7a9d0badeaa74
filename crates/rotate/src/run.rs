//! The one task that drives all credentials.
//!
//! Two clocks are read: the wall clock, by which certificates live, and a monotonic one, by which waits are measured. When they
//! part by more than half a minute, the machine slept or somebody set the clock, and everything is planned anew at once.

mod drive;
mod jobs;
mod look;
mod orders;
mod queue;
mod slot;

use std::sync::Arc;

use countermark_credential::Credential;
use countermark_credential::directory::DeliveryError;
use countermark_identity::Clock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::drive::Rotation;
use self::orders::Order;
use crate::config::Config;
use crate::event::Told;
use crate::issuer::Stations;
use crate::name::{Misnamed, Name};
use crate::status::{CredentialStatus, Status};

/// What a rotation is made of.
#[expect(clippy::exhaustive_structs, reason = "callers build it, and must say all of it")]
pub struct Setup {
    /// Which credentials.
    pub config: Config,
    /// From whom.
    pub stations: Arc<dyn Stations>,
    /// By which wall clock.
    pub clock: Arc<dyn Clock>,
    /// Who hears what happens.
    pub observers: Vec<Arc<dyn Observe>>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Hears what happens.
pub trait Observe: Send + Sync {
    /// This happened.
    fn told(&self, told: &Told);
}

/// Gives orders to a rotation that runs, and asks it.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

impl Handle {
    /// How everything stands.
    ///
    /// # Errors
    /// The rotation has ended.
    pub async fn status(&self) -> Result<Status, Ended> {
        self.ask(Order::Status).await
    }

    /// How one credential stands.
    ///
    /// # Errors
    /// The rotation has ended.
    pub async fn credential(&self, name: &str) -> Result<Option<CredentialStatus>, Ended> {
        let name = name.to_owned();
        self.ask(|answer| Order::Credential { name, answer }).await
    }

    /// Renews a credential now; says whether there is one of that name.
    ///
    /// # Errors
    /// The rotation has ended.
    pub async fn renew(&self, name: &str) -> Result<bool, Ended> {
        let name = name.to_owned();
        self.ask(|answer| Order::Renew { name, answer }).await
    }

    /// Goes by another configuration. Credentials whose entry is the same are not touched.
    ///
    /// # Errors
    /// The rotation has ended; inside, a directory that cannot be claimed: nothing is changed then.
    pub async fn reload(&self, config: Config) -> Result<Result<(), StartError>, Ended> {
        self.ask(|answer| Order::Reload { config: Box::new(config), answer }).await
    }

    /// Says that the file of the configuration is broken.
    pub async fn refuse(&self, cause: String) {
        // Where nobody listens there is nobody to tell.
        let _ended = self.orders.send(Order::Refuse { cause }).await;
    }

    /// Follows a credential in memory; none when there is none of that name or nothing that is good yet.
    ///
    /// # Errors
    /// The rotation has ended.
    pub async fn watch(&self, name: &str) -> Result<Option<watch::Receiver<Arc<Credential>>>, Ended> {
        let name = name.to_owned();
        self.ask(|answer| Order::Watch { name, answer }).await
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Ended> {
        let (sender, answer) = oneshot::channel();
        self.orders.send(order(sender)).await.map_err(|_| Ended(()))?;
        answer.await.map_err(|_| Ended(()))
    }
}

/// The rotation has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the rotation has ended")]
pub struct Ended(());

/// Why a rotation does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A directory cannot be made, or another process keeps it fresh.
    #[error("{credential}: {}", match source {
        DeliveryError::Busy { path } => format!("another `countermark rotate` holds {}; end that one first", path.display()),
        other => other.to_string(),
    })]
    Claim {
        /// Whose.
        credential: Arc<str>,
        /// Why.
        source: DeliveryError,
    },
    /// A directory is another identity's.
    #[error("{credential}: {} is the directory of {found}, and the configuration says {wanted}: {why}", dir.display())]
    OtherIdentity {
        /// Which credential.
        credential: Arc<str>,
        /// The directory.
        dir: std::path::PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: Name,
        /// In what they differ.
        why: Box<Misnamed>,
    },
}

/// Lets this process hold as many files as it may: each credential holds the lock of its directory.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        // As many as there were is what stays, and what does not fit is refused when it is claimed.
        let _as_before = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

#[cfg(test)]
mod tests;
