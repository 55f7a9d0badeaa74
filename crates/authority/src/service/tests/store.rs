//! What happens where the inventory cannot be written, and that many share one wait for the disk.

use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;
use crate::{Change, Filter, InviteRecord, IssuerRecord, StoreError, StoreFuture, StoredLeaf, Write, Written};
use countermark_identity::{Serial, UnixTime};
use countermark_issue::Revoked;

pub(super) async fn raw(estate: &Estate) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(estate.fixture.path().join("inventory.sqlite"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub(super) async fn sql(estate: &Estate, statement: &str) {
    raw(estate).await.execute(statement).await.unwrap();
}

/// A store whose transactions can be counted and made to fail, as on a disk that is full or read-only.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn Store>,
    seen: Arc<std::sync::Mutex<Vec<Vec<Write>>>>,
    broken: Arc<std::sync::atomic::AtomicBool>,
}

impl Store for Watched {
    fn commit<'a>(&'a mut self, writes: &'a [Write]) -> StoreFuture<'a, Vec<Written>> {
        if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Corrupt("a disk that is read-only")) });
        }
        self.seen.lock().unwrap().push(writes.to_vec());
        self.inner.commit(writes)
    }

    fn leaves<'a>(&'a mut self, serials: &'a [Serial]) -> StoreFuture<'a, Vec<StoredLeaf>> {
        self.inner.leaves(serials)
    }

    fn invite<'a>(&'a mut self, secret_sha256: &'a str) -> StoreFuture<'a, Option<InviteRecord>> {
        self.inner.invite(secret_sha256)
    }

    fn issuers(&mut self) -> StoreFuture<'_, Vec<IssuerRecord>> {
        self.inner.issuers()
    }

    fn living_issuers(&mut self, now: UnixTime) -> StoreFuture<'_, Vec<String>> {
        self.inner.living_issuers(now)
    }

    fn add_issuer<'a>(&'a mut self, issuer: &'a IssuerRecord, audit: &'a AuditEntry) -> StoreFuture<'a, ()> {
        self.inner.add_issuer(issuer, audit)
    }

    fn record<'a>(
        &'a mut self,
        change: Change<'a>,
        audit: &'a [AuditEntry],
        issuers: &'a [String],
    ) -> StoreFuture<'a, Vec<u64>> {
        self.inner.record(change, audit, issuers)
    }

    fn signed<'a>(
        &'a mut self,
        leaf: Option<(&'a Serial, &'a [u8])>,
        crls: &'a [(String, Vec<u8>)],
    ) -> StoreFuture<'a, ()> {
        self.inner.signed(leaf, crls)
    }

    fn revoked<'a>(&'a mut self, issuer: &'a str, since: UnixTime) -> StoreFuture<'a, Vec<Revoked>> {
        self.inner.revoked(issuer, since)
    }

    fn certificates<'a>(&'a mut self, filter: &'a Filter) -> StoreFuture<'a, Vec<CertificateRecord>> {
        self.inner.certificates(filter)
    }

    fn audit<'a>(&'a mut self, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        self.inner.audit(entry)
    }

    fn audit_trail(&mut self, limit: u32) -> StoreFuture<'_, Vec<AuditRecord>> {
        self.inner.audit_trail(limit)
    }
}

#[tokio::test]
async fn a_certificate_is_written_down_before_it_is_signed_and_kept_before_it_is_answered() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watched = |inner| Box::new(Watched { inner, seen: Arc::clone(&seen), broken: Arc::clone(&broken) });
    let estate =
        Estate::over(Fixture::new().await, |_| {}, |stores| Stores { writer: watched(stores.writer), ..stores }).await;
    let holder = estate.holder("agent/billing-bot").await;
    seen.lock().unwrap().clear();
    let answer = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    let leaf = answer.certificates()[0].clone();
    let commits = std::mem::take(&mut *seen.lock().unwrap());
    assert!(matches!(&commits[0][..], [Write::Reserve { .. }]), "{commits:?}");
    assert!(matches!(&commits[1][..], [Write::Keep { certificate, .. }] if **certificate == *leaf), "{commits:?}");
    assert_eq!(commits.len(), 2);

    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    refused.refused_text(503, "cannot be written");
    assert_eq!(refused.headers["retry-after"], "5");
    assert!(seen.lock().unwrap().is_empty(), "nothing is signed that could not be written down");
    assert!(estate.shared.examine().iter().any(|reason| reason.contains("inventory")));

    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let begun = std::time::Instant::now();
    while !estate.shared.examine().is_empty() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "nobody asks, and it stays red");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let trials = seen.lock().unwrap().iter().flatten().filter(|write| matches!(write, Write::Trial)).count();
    assert_eq!(trials, 1, "it was tried, and not by a certificate");
    let again = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    assert_eq!(again.status, StatusCode::OK, "it goes on as soon as the disk does");
    assert!(estate.shared.examine().is_empty());
}

#[tokio::test]
async fn a_locked_database_is_an_answer_and_not_a_hang() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/billing-bot").await;
    let mut other = raw(&estate).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    refused.refused_text(503, "try again");
    other.execute("ROLLBACK").await.unwrap();
    let again = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn many_requests_share_transactions_and_no_serial_comes_twice() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let broken = Arc::default();
    let watched = |inner| Box::new(Watched { inner, seen: Arc::clone(&seen), broken: Arc::clone(&broken) });
    let estate =
        Estate::over(Fixture::new().await, |_| {}, |stores| Stores { writer: watched(stores.writer), ..stores }).await;
    let wanted = |name: usize| {
        let csr = KeyPair::generate(KeyType::P256).unwrap();
        desk::Wanted {
            identity: id(&format!("agent/a{name}")),
            public_key: csr.public_key().clone(),
            profile: None,
            life: desk::Life::Asked(None),
            dns: Vec::new(),
            ip: Vec::new(),
        }
    };
    let before = seen.lock().unwrap().len();
    let ground = || desk::Ground { act: Act::Mint, detail: None, invite: None, after: None };
    let all: Vec<_> = (0..64).map(wanted).collect();
    let mut issuing = tokio::task::JoinSet::new();
    for wanted in all {
        let shared = Arc::clone(&estate.shared);
        issuing.spawn(async move { shared.desk.issue(wanted, ground(), START).await.unwrap().serial });
    }
    let mut serials: Vec<Serial> = issuing.join_all().await;
    let commits = seen.lock().unwrap().len() - before;
    assert!(commits < 64, "{commits} transactions for 128 writes");
    serials.sort_by_key(ToString::to_string);
    serials.dedup();
    assert_eq!(serials.len(), 64);
    let listed = estate.fixture.authority.list(&Filter::default()).await.unwrap();
    assert!(serials.iter().all(|serial| listed.iter().any(|row| row.serial == *serial && row.thumbprint.is_some())));
}

/// A row that cannot be read refuses whoever needs it, and nobody who asks in the same moment.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_the_fault_of_one() {
    let estate = Estate::new().await;
    let (good, bad) = (estate.holder("agent/billing-bot").await, estate.holder("agent/intern-bot").await);
    sql(&estate, "UPDATE certificate SET reason = 'x', revoked_at = -1 WHERE identity LIKE '%/intern-bot'").await;
    let (one, other) = (Holder::new().key.request().unwrap(), Holder::new().key.request().unwrap());
    let (served, refused) = tokio::join!(estate.reenrol(&good, &one), estate.reenrol(&bad, &other));
    assert_eq!(served.unwrap().status, StatusCode::OK);
    assert_eq!(refused.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
}

/// One that was redeemed and never finished belongs to its key, which may finish it when the first attempt is surely over.
#[tokio::test]
async fn an_invite_whose_certificate_was_never_signed_is_finished_by_the_same_key() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    let (newcomer, other) = (Holder::new(), Holder::new());
    assert_eq!(estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await.status, StatusCode::OK);
    sql(&estate, "UPDATE certificate SET certificate = NULL, thumbprint = NULL WHERE identity LIKE '%/billing-bot'")
        .await;
    estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await.refused_text(503, "being redeemed");
    estate.fixture.clock.advance(std::time::Duration::from_secs(10));
    estate.enrol(&basic(&secret), &other.key.request().unwrap()).await.refused_text(403, "another key");
    let finished = estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await;
    assert_eq!(finished.certificates().len(), 1);
}
