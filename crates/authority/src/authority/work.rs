//! One change at a time: the lock, the inventory, the keys.

use std::sync::Arc;

use countermark_identity::UnixTime;
use countermark_issue::Signer;
use tokio::sync::MutexGuard;

use crate::{
    authority::{Authority, Inner, Target},
    directory::{Lock, read_certificate, read_key},
    error::AuthorityError,
    record::{Act, IssuerRecord, Outcome},
    store::{AuditEntry, Store},
};

/// Everything that a change needs, held against other changes of this and other processes.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) authority: &'a Authority,
    pub(super) now: UnixTime,
    inner: MutexGuard<'a, Inner>,
    _lock: Lock,
}

impl Authority {
    pub(super) async fn begin(&self) -> Result<Work<'_>, AuthorityError> {
        let mut inner = self.inner.lock().await;
        let lock = Lock::acquire(&self.directory.lock(), self.patience).await?;
        self.store(&mut inner).await?;
        Ok(Work { authority: self, now: self.clock.now(), inner, _lock: lock })
    }
}

impl Authority {
    /// The intermediate that signs now.
    pub(crate) async fn current_signer(&self) -> Result<Arc<Signer>, AuthorityError> {
        self.begin().await?.current()
    }

    /// The intermediates under which certificates live, the signing one first, and when each CA's leaves may name it.
    pub(crate) async fn issuers(&self) -> Result<Vec<IssuerRecord>, AuthorityError> {
        let mut work = self.begin().await?;
        Ok(work.store().await?.issuers().await?)
    }
}

impl Work<'_> {
    pub(super) async fn store(&mut self) -> Result<&mut dyn Store, AuthorityError> {
        self.authority.store(&mut self.inner).await
    }

    /// Writes down that `act` was refused, and why; the refusal stands whether or not that could be written.
    pub(super) async fn refuse(&mut self, act: Act, target: Option<&Target>, error: &AuthorityError) {
        let mut entry = AuditEntry::new(self.now, act, Outcome::Refused);
        match target {
            Some(Target::Identity(identity)) => entry.identity = Some(identity.to_string()),
            Some(Target::Serial(serial)) => entry.serial = Some(serial.to_string()),
            None => {}
        }
        entry.detail = Some(error.to_string());
        if let Ok(store) = self.store().await {
            let _the_refusal_is_reported = store.audit(&entry).await;
        }
    }

    /// The intermediate that signs now; another process may have renewed it since.
    pub(super) fn current(&mut self) -> Result<Arc<Signer>, AuthorityError> {
        let key_id = self.authority.directory.current_key_id()?;
        self.signer(&key_id)
    }

    pub(super) fn signer(&mut self, key_id: &str) -> Result<Arc<Signer>, AuthorityError> {
        if let Some(signer) = self.inner.signers.get(key_id) {
            return Ok(Arc::clone(signer));
        }
        let directory = self.authority.directory.issuer(key_id);
        let certificate = read_certificate(&directory.join("intermediate.crt"))?;
        let key = read_key(&directory.join("intermediate.key"), self.authority.passphrase())?;
        let signer = Arc::new(Signer::new(certificate, key)?);
        self.inner.signers.insert(key_id.to_owned(), Arc::clone(&signer));
        Ok(signer)
    }

    /// The root with its key, if that is at hand; never kept.
    pub(super) fn root(&self) -> Result<Signer, AuthorityError> {
        let path = self.authority.directory.root_key();
        if !path.exists() {
            return Err(AuthorityError::RootKeyAbsent(path));
        }
        let key = read_key(&path, self.authority.passphrase())?;
        Ok(Signer::new(self.authority.root.der.clone(), key)?)
    }
}
