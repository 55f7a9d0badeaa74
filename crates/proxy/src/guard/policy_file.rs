//! The policy file, read again when it changes; a broken one keeps the last good.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countermark_identity::{SanMap, TrustDomain};
use countermark_policy::Policy;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::GuardError;
use super::metrics::Metrics;

/// How often the file is looked at: a change of policy ends open streams within a second.
const LOOK: Duration = Duration::from_millis(400);
/// A policy larger than this is a mistake.
const MOST: u64 = 64 * 1024 * 1024;

/// The current policy and its SAN map, and what is wrong with the file.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    path: PathBuf,
    trust_domain: TrustDomain,
    text: Mutex<String>,
    policy: watch::Sender<Arc<Policy>>,
    map: watch::Sender<Arc<SanMap>>,
    problem: Mutex<Option<String>>,
    metrics: Arc<Metrics>,
}

impl PolicyFile {
    /// Reads the file for the first time, when a broken one is an error.
    pub(crate) fn open(
        path: PathBuf,
        trust_domain: TrustDomain,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, GuardError> {
        let text = read(&path)?;
        let policy = Arc::new(parse(&path, &text, &trust_domain)?);
        metrics.policy_loaded("ok");
        metrics.gauges.policy_generation.set(1);
        let map = watch::Sender::new(Arc::new(policy.map().clone()));
        let policy = watch::Sender::new(policy);
        Ok(Arc::new(Self {
            path,
            trust_domain,
            text: Mutex::new(text),
            policy,
            map,
            problem: Mutex::default(),
            metrics,
        }))
    }

    pub(crate) fn policy(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    pub(crate) fn map(&self) -> watch::Receiver<Arc<SanMap>> {
        self.map.subscribe()
    }

    /// Why the file is not the policy in force.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the file until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut stamp = Stamp::of(&self.path);
        let mut settled = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = Stamp::of(&self.path);
            // One look more after a change, for a writer that was not done within the clock's grain.
            if now != stamp || !std::mem::replace(&mut settled, true) {
                settled = now == stamp;
                stamp = now;
                // A policy of a large estate takes a while to compile.
                let file = Arc::clone(&self);
                let _ = tokio::task::spawn_blocking(move || file.reload()).await;
            }
        }
    }

    fn reload(&self) {
        let loaded = read(&self.path).and_then(|text| {
            if text == *self.text.lock().unwrap_or_else(PoisonError::into_inner) {
                return Ok(None);
            }
            let policy = parse(&self.path, &text, &self.trust_domain)?;
            Ok(Some((text, policy)))
        });
        match loaded {
            Ok(None) => self.set_problem(None),
            Ok(Some((text, policy))) => self.publish(text, policy),
            Err(error) => {
                let error = error.to_string();
                if self.problem().as_ref() != Some(&error) {
                    self.metrics.policy_loaded("broken");
                    tracing::error!(%error, "the policy changed and cannot be used; the last good one stays in force");
                    self.set_problem(Some(error));
                }
            }
        }
    }

    fn publish(&self, text: String, policy: Policy) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.set_problem(None);
        self.metrics.policy_loaded("ok");
        self.metrics.gauges.policy_generation.inc();
        tracing::info!(path = %self.path.display(), "policy changed");
        let map = Arc::new(policy.map().clone());
        self.policy.send_replace(Arc::new(policy));
        self.map.send_if_modified(|old| {
            let changed = *old != map;
            if changed {
                *old = map;
            }
            changed
        });
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Option<(i64, i64, u64, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(std::fs::metadata(path).ok().map(|file| (file.ctime(), file.ctime_nsec(), file.ino(), file.size())))
    }
}

fn read(path: &Path) -> Result<String, GuardError> {
    let unreadable = |source| GuardError::PolicyUnreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST {
        return Err(unreadable(std::io::Error::other("it is larger than 64 MiB")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn parse(path: &Path, text: &str, trust_domain: &TrustDomain) -> Result<Policy, GuardError> {
    let policy = Policy::parse(text)
        .map_err(|errors| GuardError::Policy { path: path.to_owned(), message: errors.to_string() })?;
    if policy.trust_domain() == trust_domain {
        return Ok(policy);
    }
    Err(GuardError::TrustDomain {
        path: path.to_owned(),
        policy: policy.trust_domain().to_string(),
        identity: trust_domain.to_string(),
    })
}
