//! The authority itself.

mod crl;
mod init;
mod mint;
mod renew;
mod revoke;
mod revoke_issuer;
mod work;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countermark_credential::{Bundle, Crl};
use countermark_identity::{Clock, Role, Secret, TrustDomain, UnixTime};
use countermark_issue::{Profile, Signer};
use rustls_pki_types::CertificateDer;
use tokio::sync::Mutex;

pub use self::{
    crl::{CRL_LIFE, CrlReport},
    init::KeyProtection,
    mint::{Issued, MintRequest, SubjectKey},
    renew::Renewal,
    revoke::{Revocation, Target},
    revoke_issuer::IssuerRevocation,
};
use crate::{
    directory::{Directory, is_sealed, read, read_certificate},
    error::AuthorityError,
    record::{AuditRecord, CertificateRecord, Filter},
    store::{SqliteStore, Store, Write},
    warning::Warning,
};

/// How long after its end a certificate may still be renewed by its key. Until then a revocation of its identity concerns it, too.
pub(crate) const GRACE: Duration = Duration::from_secs(72 * 3600);

/// How long another process that holds the directory is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A CA in a directory.
pub struct Authority {
    directory: Directory,
    domain: TrustDomain,
    root: CaCertificate,
    passphrase: Option<Secret<Vec<u8>>>,
    clock: Arc<dyn Clock>,
    crl_life: Duration,
    patience: Duration,
    inner: Mutex<Inner>,
}

/// What is opened when it is first needed: most verbs need neither every key nor the inventory.
#[derive(Debug, Default)]
struct Inner {
    store: Option<Box<dyn Store>>,
    signers: BTreeMap<String, Arc<Signer>>,
}

/// A CA certificate and its life.
#[derive(Clone, Debug)]
struct CaCertificate {
    der: CertificateDer<'static>,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Authority {
    /// Opens the authority in `directory`. Keys and inventory are opened when they are first needed, so that a wrong
    /// passphrase shows at the first signature.
    pub fn open(
        directory: impl AsRef<Path>,
        passphrase: Option<Secret<Vec<u8>>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthorityError> {
        let directory = Directory::new(directory.as_ref());
        let root = directory.root_certificate();
        if !root.exists() {
            let path = directory.path().to_owned();
            return Err(AuthorityError::NotAnAuthority { path, missing: "root.crt" });
        }
        let (root, domain) = CaCertificate::read_root(&root)?;
        let inner = Mutex::new(Inner::default());
        Ok(Self { directory, domain, root, passphrase, clock, crl_life: CRL_LIFE, patience: PATIENCE, inner })
    }

    /// With another life of the intermediates' CRLs than [`CRL_LIFE`].
    #[must_use]
    pub fn with_crl_life(self, crl_life: Duration) -> Self {
        Self { crl_life, ..self }
    }

    /// Gives up on another process that holds the directory after so long, instead of a minute.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether signing with the authority in `directory` takes a passphrase.
    pub fn needs_passphrase(directory: impl AsRef<Path>) -> Result<bool, AuthorityError> {
        let directory = Directory::new(directory.as_ref());
        is_sealed(&directory.current_issuer().join("intermediate.key"))
    }

    /// The trust domain that it signs for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The file that holds the CRLs of every CA of the chain.
    #[must_use]
    pub fn crl_path(&self) -> PathBuf {
        self.directory.crls()
    }

    /// Whose time it goes by.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn inventory_path(&self) -> PathBuf {
        self.directory.inventory()
    }

    pub(crate) const fn root_ends(&self) -> UnixTime {
        self.root.not_after
    }

    /// The files that another process may change while this one serves.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        vec![self.directory.crls(), self.directory.current_issuer(), self.directory.bundle(&self.domain)]
    }

    /// The root certificate.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root.der
    }

    /// The profile for `role`, from the authority's directory.
    pub fn profile(&self, role: Role) -> Result<Profile, AuthorityError> {
        self.read_profile(self.directory.profile(role), role)
    }

    /// The profile of this name, which must be one for `role`.
    pub fn named_profile(&self, name: &str, role: Role) -> Result<Profile, AuthorityError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(AuthorityError::ProfileName(name.to_owned()));
        }
        self.read_profile(self.directory.named_profile(name), role)
    }

    fn read_profile(&self, path: PathBuf, role: Role) -> Result<Profile, AuthorityError> {
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        let profile = Profile::parse(&text).map_err(|source| AuthorityError::Profile { path: path.clone(), source })?;
        if profile.role() != role {
            let found = profile.role();
            return Err(AuthorityError::ProfileRole { path, expected: role, found });
        }
        Ok(profile)
    }

    /// The trust bundle, as its file has it.
    pub fn bundle(&self) -> Result<Bundle, AuthorityError> {
        let pem = read(&self.directory.bundle(&self.domain))?;
        Ok(Bundle::from_pem(self.domain.clone(), &pem)?)
    }

    /// The newest CRL of every CA of the chain, as their file has them.
    pub fn crls(&self) -> Result<Vec<Crl>, AuthorityError> {
        let path = self.directory.crls();
        Crl::many_from_pem(&read(&path)?).map_err(|source| AuthorityError::CrlFile { path, source })
    }

    /// Lives and warnings.
    pub fn status(&self) -> Result<Status, AuthorityError> {
        let path = self.directory.current_issuer().join("intermediate.crt");
        let intermediate = CaCertificate::read(&path)?;
        let now = self.clock.now();
        let mut warnings = self.root_warning(now);
        if intermediate.is_due(now) {
            warnings.push(Warning::IntermediateEnds(intermediate.not_after));
        }
        Ok(Status {
            trust_domain: self.domain.clone(),
            root_ends: self.root.not_after,
            intermediate_ends: intermediate.not_after,
            root_key_present: self.directory.root_key().exists(),
            warnings,
        })
    }

    /// The certificates of the inventory that pass `filter`, the newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<CertificateRecord>, AuthorityError> {
        let mut inner = self.inner.lock().await;
        Ok(self.store(&mut inner).await?.certificates(filter).await?)
    }

    /// The newest `limit` lines of the audit trail, the newest first.
    pub async fn audit_trail(&self, limit: u32) -> Result<Vec<AuditRecord>, AuthorityError> {
        let mut inner = self.inner.lock().await;
        Ok(self.store(&mut inner).await?.audit_trail(limit).await?)
    }

    /// Writes several changes in one transaction.
    pub(crate) async fn commit(&self, writes: &[Write]) -> Result<(), AuthorityError> {
        let mut inner = self.inner.lock().await;
        self.store(&mut inner).await?.commit(writes).await?;
        Ok(())
    }

    async fn store<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut dyn Store, AuthorityError> {
        if inner.store.is_none() {
            let path = self.directory.inventory();
            fs::metadata(&path).map_err(|error| AuthorityError::io("open", &path, error))?;
            inner.store = Some(Box::new(SqliteStore::open(&path).await?));
        }
        match inner.store.as_deref_mut() {
            Some(store) => Ok(store),
            None => Err(AuthorityError::NotAnAuthority {
                path: self.directory.path().to_owned(),
                missing: "inventory.sqlite",
            }),
        }
    }

    /// Puts another store in the inventory's place.
    #[cfg(test)]
    pub(crate) async fn with_store(&self, store: Box<dyn Store>) {
        self.inner.lock().await.store = Some(store);
    }

    fn passphrase(&self) -> Option<&[u8]> {
        self.passphrase.as_ref().map(|passphrase| passphrase.expose().as_slice())
    }

    fn root_warning(&self, now: UnixTime) -> Vec<Warning> {
        if self.root.is_due(now) { vec![Warning::RootEnds(self.root.not_after)] } else { Vec::new() }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("directory", &self.directory)
            .field("trust_domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl CaCertificate {
    fn read(path: &Path) -> Result<Self, AuthorityError> {
        let der = read_certificate(path)?;
        let facts = countermark_issue::ca_facts(&der).map_err(|_| AuthorityError::Certificate(path.to_owned()))?;
        Ok(Self { der, not_before: facts.not_before, not_after: facts.not_after })
    }

    fn read_root(path: &Path) -> Result<(Self, TrustDomain), AuthorityError> {
        let der = read_certificate(path)?;
        let facts = countermark_issue::ca_facts(&der).map_err(|_| AuthorityError::Certificate(path.to_owned()))?;
        let failed = |source| AuthorityError::TrustDomain { path: path.to_owned(), source };
        let name = facts.spiffe_uri.as_deref().and_then(|uri| uri.strip_prefix("spiffe://"));
        let domain = name.ok_or_else(|| failed(None))?.parse().map_err(|error| failed(Some(error)))?;
        Ok((Self { der, not_before: facts.not_before, not_after: facts.not_after }, domain))
    }

    /// Whether two thirds of its life are over.
    fn is_due(&self, now: UnixTime) -> bool {
        is_due(self.not_before, self.not_after, now)
    }
}

/// Whether two thirds of a life are over.
pub(crate) fn is_due(not_before: UnixTime, not_after: UnixTime, now: UnixTime) -> bool {
    let life = not_after.duration_since(not_before);
    now >= not_before.saturating_add(life / 3 * 2)
}

/// Lives and warnings of an authority.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The trust domain that it signs for.
    pub trust_domain: TrustDomain,
    /// When the root ends.
    pub root_ends: UnixTime,
    /// When the intermediate that signs now ends.
    pub intermediate_ends: UnixTime,
    /// Whether the root's key lies in the directory.
    pub root_key_present: bool,
    /// What will need a hand.
    pub warnings: Vec<Warning>,
}
