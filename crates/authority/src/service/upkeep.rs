//! What an authority does by itself: new lists, a new intermediate, a new certificate of its own, and what others have
//! changed in its directory.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use countermark_credential::{Bundle, Credential, Trust};
use countermark_identity::UnixTime;
use countermark_issue::{KeyPair, KeyType};
use countermark_oauth::causes;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    authority::is_due,
    error::AuthorityError,
    record::Act,
    service::{
        CRL_LIFE_SERVED, Places, ServiceError, Shared,
        desk::{Desk, Ground, Life, Wanted},
        health::Part,
        token::Enrolment,
    },
    store::Write,
};

/// The one task that looks after a service.
#[derive(Debug)]
pub(super) struct Upkeep {
    shared: Arc<Shared>,
    publish: watch::Sender<Arc<Credential>>,
    directory: Followed,
    enrolment: Followed,
    /// Lists are to be signed whatever the file says: a revocation, or a new intermediate, may have been cut off before its list was.
    lists_owed: bool,
    /// Not before: what failed is not tried at every look.
    lists_at: UnixTime,
    own_at: UnixTime,
    /// When it was last tried whether the inventory can be written.
    tried: Option<Instant>,
}

/// Files that are followed together.
#[derive(Debug)]
struct Followed {
    /// As they were before they were read last.
    seen: Vec<Seen>,
    /// When that failed.
    failed: Option<UnixTime>,
}

impl Followed {
    /// Whether the files are to be read: they are others, or could not be read a while ago. They count as read from here on.
    fn is_due(&mut self, files: &[PathBuf], now: UnixTime) -> bool {
        let seen = marks(files);
        let due =
            seen != self.seen || self.failed.is_some_and(|failed| now < failed || now >= failed.saturating_add(AGAIN));
        self.seen = seen;
        due
    }

    fn note(&mut self, good: bool, now: UnixTime) {
        self.failed = (!good).then_some(now);
    }
}

/// What tells one version of a file from the next.
type Seen = Option<(u64, u64, i64, i64)>;

impl Upkeep {
    pub(super) fn new(shared: Arc<Shared>, publish: watch::Sender<Arc<Credential>>) -> Self {
        let followed = |files: Vec<PathBuf>| Followed { seen: marks(&files), failed: None };
        let (directory, enrolment) = (followed(shared.authority.watched()), followed(shared.enrolment_files()));
        Self {
            shared,
            publish,
            directory,
            enrolment,
            lists_owed: true,
            lists_at: UnixTime::default(),
            own_at: UnixTime::default(),
            tried: None,
        }
    }

    /// Looks at clock and files until the service is over.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shared.over.cancelled() => return,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    /// One look. The clock is the wall's, so that a suspend is noticed at once.
    ///
    /// Its own certificate comes first: it needs nothing that another process could hold.
    pub(super) async fn look(&mut self) {
        let now = self.shared.clock.now();
        self.shared.troubles.beat();
        if now >= self.own_at && self.own_is_due(now) {
            let renewed = self.renew_own(now).await;
            self.shared.troubles.note(Part::OwnCertificate, &renewed);
            self.own_at = if renewed.is_ok() { now } else { now.saturating_add(self.own_retry()) };
        }
        self.follow(now).await;
        if now >= self.lists_at && (self.lists_owed || self.lists_are_due(now)) {
            let signed = self.sign_lists().await;
            self.shared.troubles.note(Part::Signing, &signed);
            self.lists_owed = signed.is_err();
            self.lists_at = if signed.is_ok() { now } else { now.saturating_add(RETRY) };
            if self.own_is_due(now) && now >= self.own_at {
                // The intermediate is another.
                let renewed = self.renew_own(now).await;
                self.shared.troubles.note(Part::OwnCertificate, &renewed);
                self.own_at = if renewed.is_ok() { now } else { now.saturating_add(self.own_retry()) };
            }
        }
        self.try_to_write().await;
        self.shared.troubles.beat();
    }

    /// While the inventory could not be written, whether it can again: no request may come to find that out.
    async fn try_to_write(&mut self) {
        if !self.shared.metrics.is_failing() || self.tried.is_some_and(|tried| tried.elapsed() < TRIAL) {
            return;
        }
        self.tried = Some(Instant::now());
        // How it went is in the metrics.
        let _in_the_metrics = self.shared.desk.ledger.write(Write::Trial).await;
    }

    /// What another process, or a hand, has changed in the directory counts at once; what could not be read is read again.
    async fn follow(&mut self, now: UnixTime) {
        if self.directory.is_due(&self.shared.authority.watched(), now) {
            // Whoever signs first: trust knows the intermediates by that.
            let directory = self.shared.desk.refresh().await;
            let lists = self.shared.reload_lists();
            self.shared.troubles.note(Part::Directory, &directory);
            self.directory.note(lists && directory.is_ok(), now);
        }
        if self.enrolment.is_due(&self.shared.enrolment_files(), now) {
            self.enrolment.note(self.shared.reload_enrolment(), now);
        }
    }

    fn lists_are_due(&self, now: UnixTime) -> bool {
        let lists = self.shared.lists.borrow().clone();
        let half = CRL_LIFE_SERVED / 2;
        let signed = lists.current().map(|crl| crl.this_update());
        let old = signed.is_none_or(|at| now >= at.saturating_add(half));
        let ending = lists.next_update().is_none_or(|end| now.saturating_add(half) >= end);
        // The root's list lives as long as the intermediate: it ends only where the intermediate could not be renewed.
        let intermediate = lists.current().is_none_or(|crl| now.saturating_add(half) >= crl.next_update());
        old || (ending && intermediate) || self.intermediate_is_due(now)
    }

    fn intermediate_is_due(&self, now: UnixTime) -> bool {
        let signing = self.shared.desk.signing();
        let signer = &signing.signer;
        let root = self.shared.authority.status().is_ok_and(|status| status.root_key_present);
        let outlives = self.shared.authority.root_ends() > signer.not_after();
        root && outlives && is_due(signer.not_before(), signer.not_after(), now)
    }

    /// Signs the lists; where the intermediate's time has come and the root's key is at hand, under a new one.
    async fn sign_lists(&mut self) -> Result<(), AuthorityError> {
        let report = self.shared.authority.crl().await?;
        for warning in &report.warnings {
            tracing::warn!("{warning}");
        }
        self.shared.desk.refresh().await?;
        // The next look reads them once more: what was written meanwhile is not passed over.
        self.shared.reload_lists();
        tracing::info!(next_update = %report.next_update, "the revocation lists are signed anew");
        Ok(())
    }

    fn own_is_due(&self, now: UnixTime) -> bool {
        let credential = Arc::clone(&self.publish.borrow());
        let leaf = credential.leaf();
        let life = leaf.not_after().duration_since(leaf.not_before());
        let replaced = credential.chain().get(1) != Some(self.shared.desk.signing().signer.certificate());
        replaced || now >= leaf.not_before().saturating_add(life / 2) || now < leaf.not_before()
    }

    /// A twentieth of its life, which at half of it is a tenth of what is left; a minute at most.
    fn own_retry(&self) -> Duration {
        let credential = Arc::clone(&self.publish.borrow());
        let leaf = credential.leaf();
        (leaf.not_after().duration_since(leaf.not_before()) / 20).clamp(SHORTEST_RETRY, RETRY)
    }

    async fn renew_own(&mut self, now: UnixTime) -> Result<(), ServiceError> {
        let credential = own_credential(&self.shared.desk, &self.shared.places, &self.shared.me, now).await?;
        tracing::info!(serial = %credential.leaf().serial(), not_after = %credential.leaf().not_after(), "the authority's own certificate is renewed");
        self.publish.send_replace(Arc::new(credential));
        Ok(())
    }
}

/// A new certificate for the service itself; its key never leaves this process.
pub(super) async fn own_credential(
    desk: &Desk,
    places: &Places,
    me: &countermark_identity::SpiffeId,
    now: UnixTime,
) -> Result<Credential, ServiceError> {
    let key = KeyPair::generate(KeyType::P256).map_err(AuthorityError::from)?;
    let wanted = Wanted {
        identity: me.clone(),
        public_key: key.public_key().clone(),
        profile: None,
        life: Life::Asked(None),
        dns: places.dns.clone(),
        ip: places.ip.clone(),
    };
    let ground = Ground { act: Act::Mint, detail: Some("the service's own".to_owned()), invite: None, after: None };
    let handed = desk.issue(wanted, ground, now).await.map_err(|error| ServiceError::Own(causes(&error)))?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
    Credential::new(handed.chain, private).map_err(|error| ServiceError::Own(error.to_string()))
}

impl Shared {
    /// Publishes the lists that the file has now; what cannot be read leaves the last good in place. Says whether it could.
    pub(super) fn reload_lists(&self) -> bool {
        let _one_after_another = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read_trust();
        self.troubles.note(Part::Lists, &read);
        let Ok((lists, trust)) = read else { return false };
        let changed = self.lists.borrow().etag != lists.etag;
        let own = self.authority.trust_domain();
        let roots = |trust: &Trust| trust.bundle(own).map(Bundle::to_pem);
        let others = !self.trust.borrow().completed_by(own).eq(trust.completed_by(own));
        let moved = changed || others || roots(&self.trust.borrow()) != roots(&trust);
        if moved {
            self.trust.send_replace(trust);
        }
        if changed {
            self.lists.send_replace(Arc::new(lists));
        }
        true
    }

    fn reload_enrolment(&self) -> bool {
        let Some(path) = &self.enrol else { return true };
        let read = Enrolment::read(path, self.authority.trust_domain(), &self.enrolment.load(), &self.clock);
        self.troubles.note(Part::Enrolment, &read);
        let Ok(enrolment) = read else { return false };
        self.enrolment.store(Arc::new(enrolment));
        self.enrolment_moved.notify_one();
        true
    }

    /// Where it is said who may enrol.
    fn enrolment_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.enrol.iter().cloned().collect();
        files.extend(self.enrolment.load().files().iter().cloned());
        files
    }
}

/// Keeps the keys of whoever may enrol fresh until the service is over.
pub(super) async fn follow_keys(shared: Arc<Shared>) {
    loop {
        let enrolment = shared.enrolment.load_full();
        tokio::select! {
            () = shared.over.cancelled() => return,
            () = shared.enrolment_moved.notified() => {}
            () = enrolment.follow() => {}
        }
    }
}

fn marks(files: &[PathBuf]) -> Vec<Seen> {
    files.iter().map(|file| seen(file)).collect()
}

fn seen(file: &Path) -> Seen {
    // Of what a link leads to: where Kubernetes changes a ConfigMap, only that changes.
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

/// How often clock and files are looked at: a revocation on the same machine reaches waiting guards within a second.
const LOOK: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// How long at least, with certificates of seconds.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// How long after a failure files that are as they were are read again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is tried whether the inventory can be written again.
const TRIAL: Duration = Duration::from_secs(5);
