//! Local authorities as issuers: their directories are opened here, and nowhere below.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use countermark_authority::{Authority, IdentityIssuer};
use countermark_identity::{Clock, SystemClock, UnixTime};
use countermark_rotate::{
    Config, Name,
    config::{CredentialEntry, IssuerKind},
    issuer::{Coming, Lists, OwnTrust, Present, Remote, Station, Stations, TrustOf},
};

use crate::{failure::Outcome, issuing::explain, passphrase::PassphraseArgs};

/// Stations of local authorities, and of all others.
#[derive(Debug)]
pub(super) struct Local {
    remote: Remote,
    authorities: Mutex<HashMap<PathBuf, Arc<Authority>>>,
}

impl Local {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { remote: Remote::new(clock), authorities: Mutex::default() }
    }

    /// Opens every authority that a configuration names and that is not open yet.
    pub(super) fn open(&self, config: &Config) -> Outcome<()> {
        for issuer in config.issuers.values() {
            let IssuerKind::Directory { path, passphrase_file } = &issuer.kind else { continue };
            if self.find(path).is_some() {
                continue;
            }
            let what = format!("cannot open the authority in {}", path.display());
            let sealed = explain(Authority::needs_passphrase(path), &what)?;
            let passphrase = PassphraseArgs { passphrase_file: passphrase_file.clone() };
            let passphrase = sealed.then(|| passphrase.open()).transpose()?;
            let authority = explain(Authority::open(path, passphrase, Arc::new(SystemClock)), &what)?;
            self.lock().insert(path.clone(), Arc::new(authority));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> Option<Arc<Authority>> {
        self.lock().get(path).map(Arc::clone)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<Authority>>> {
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stations for Local {
    fn station<'a>(&'a self, entry: &'a CredentialEntry, present: &'a Present, now: UnixTime) -> Coming<'a, Station> {
        let IssuerKind::Directory { path, .. } = &entry.issuer.kind else {
            return self.remote.station(entry, present, now);
        };
        Box::pin(async move {
            let Name::Spiffe(identity) = &entry.identity else {
                return Err("an authority of ours signs X509-SVIDs alone".into());
            };
            let authority =
                self.find(path).ok_or_else(|| format!("the authority in {} is not open", path.display()))?;
            let issuer = IdentityIssuer::new(Arc::clone(&authority), identity.clone())
                .with_names(entry.dns.clone(), entry.ip.clone());
            let issuer = match entry.ttl {
                Some(ttl) => issuer.with_ttl(ttl),
                None => issuer,
            };
            Ok(Station { issuer: Arc::new(issuer), trust: Arc::new(Roots(authority)), windows: None })
        })
    }

    fn lists<'a>(
        &'a self,
        entry: &'a CredentialEntry,
        present: &'a Present,
        now: UnixTime,
    ) -> Coming<'a, Option<Box<dyn Lists>>> {
        self.remote.lists(entry, present, now)
    }
}

/// What an authority has in its files.
struct Roots(Arc<Authority>);

impl TrustOf for Roots {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(async {
            let crls = self.0.crls()?.into_iter().map(Arc::new).collect();
            Ok(OwnTrust { bundle: self.0.bundle()?, crls })
        })
    }
}
