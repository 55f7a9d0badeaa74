//! The live identity directory of this process, as guard and connect use it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countermark_credential::watch::{CrlFeed, DirectoryConfig, DirectorySource, Health};
use countermark_credential::{Credential, Revocation, Trust, directory};
use countermark_identity::{Clock, SpiffeId, TrustDomain, UnixTime};
use countermark_policy::{Policy, RevocationMode};
use tokio::sync::watch;

use crate::crl::{self, CrlSource};

/// The file beside the identity that remembers the newest trust material, unless another is named.
const STATE: &str = "trust-state.json";

/// A followed directory with its newest good credential and trust.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    source: Arc<DirectorySource>,
    credential: watch::Receiver<Arc<Credential>>,
}

/// What an identity is made of.
pub(crate) struct Sources {
    pub(crate) directory: PathBuf,
    pub(crate) crl: Option<CrlSource>,
    pub(crate) state: Option<PathBuf>,
    /// Says of which trust domains revocation is not looked at.
    pub(crate) policy: Option<watch::Receiver<Arc<Policy>>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Identity {
    /// Whose directory it is; an expired credential is refused.
    pub(crate) fn own(directory: &Path, now: UnixTime) -> Result<SpiffeId, String> {
        let loaded = directory::load(directory, now).map_err(|error| error.to_string())?;
        let own = loaded.credential.spiffe_id().cloned();
        own.ok_or_else(|| "its certificate has no spiffe:// URI; `countermark mint` makes one that has".to_owned())
    }

    /// Loads the directory and follows it, and the revocation lists where they are fetched.
    pub(crate) async fn watch(sources: Sources) -> Result<Self, String> {
        let state = sources.state.or_else(|| state_beside(&sources.directory));
        if state.is_none() {
            tracing::info!(directory = %sources.directory.display(), "the directory is read-only: older CRLs are refused until the next start only; name a --state file");
        }
        let mut config = DirectoryConfig::new(sources.directory);
        let feed = match sources.crl {
            Some(CrlSource::Url(url)) => {
                let (out, lists) = watch::channel(None);
                let cache = state.as_ref().map(|state| state.with_extension("lists.pem"));
                config.feed = Some(CrlFeed { from: url.to_string(), lists, cache });
                Some((url, out))
            }
            Some(CrlSource::File(file)) => {
                config.crl = Some(file);
                None
            }
            None => None,
        };
        config.state = state;
        config.revocation = sources.policy.as_ref().map(|policy| revocation(&policy.borrow())).unwrap_or_default();
        let modes = config.revocation.clone();
        let source = DirectorySource::spawn(config, Arc::clone(&sources.clock)).map_err(|error| error.to_string())?;
        let source = Arc::new(source);
        let credential = source.credential();
        if let Some(policy) = sources.policy {
            tokio::spawn(follow(policy, Arc::downgrade(&source)));
        }
        let identity = Self { source, credential };
        if let Some((url, out)) = feed {
            let own = identity.credential().spiffe_id().map(|id| id.trust_domain().clone());
            let own = own.ok_or("its certificate has no spiffe:// URI, so that no trust domain's lists are its own")?;
            let required = modes.get(&own) != Some(&Revocation::DangerNone);
            crl::follow(&identity, own, url, out, required, sources.clock).await?;
        }
        Ok(identity)
    }

    /// The credential that is presented now.
    pub(crate) fn credential(&self) -> Arc<Credential> {
        self.credential.borrow().clone()
    }

    pub(crate) fn watch_credential(&self) -> watch::Receiver<Arc<Credential>> {
        self.credential.clone()
    }

    pub(crate) fn trust(&self) -> watch::Receiver<Arc<Trust>> {
        self.source.trust()
    }

    /// Why the newest files are not what counts.
    pub(crate) fn problems(&self) -> Vec<String> {
        let status = self.source.status().borrow().clone();
        let degraded = |health| match health {
            Health::Current => None,
            Health::Degraded { reason } => Some(reason),
        };
        [status.credential, status.trust].into_iter().filter_map(degraded).collect()
    }
}

fn state_beside(directory: &Path) -> Option<PathBuf> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).ok().map(|()| directory.join(STATE))
}

async fn follow(mut policy: watch::Receiver<Arc<Policy>>, source: std::sync::Weak<DirectorySource>) {
    while policy.changed().await.is_ok() {
        let modes = revocation(&policy.borrow_and_update());
        let Some(source) = source.upgrade() else { return };
        source.set_revocation(modes);
    }
}

fn revocation(policy: &Policy) -> BTreeMap<TrustDomain, Revocation> {
    let mode = |mode: &RevocationMode| match mode {
        RevocationMode::Required => Revocation::Required,
        RevocationMode::DangerNone => Revocation::DangerNone,
    };
    policy.revocation().iter().map(|(trust_domain, value)| (trust_domain.clone(), mode(value))).collect()
}
