//! The inventory: durable, written before anything is signed, and never rewritten.

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;
use crate::{
    AuditEntry, AuditRecord, AuthorityError, CertificateRecord, Change, Filter, InviteRecord, IssuerRecord, Store,
    StoreError, StoreFuture, StoredLeaf, Write, Written, store::SqliteStore,
};
use countermark_identity::Serial;
use countermark_issue::Revoked;

async fn raw(fixture: &Fixture) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(fixture.path().join("inventory.sqlite"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn the_audit_trail_is_never_changed() {
    let fixture = Fixture::new().await;
    fixture.mint("agent/a").await;
    let mut raw = raw(&fixture).await;
    for statement in ["UPDATE audit SET outcome = 'refused'", "DELETE FROM audit"] {
        let refused = sqlx::query(statement).execute(&mut raw).await.unwrap_err().to_string();
        assert!(refused.contains("never"), "{refused}");
    }
}

#[tokio::test]
async fn an_inventory_of_a_newer_program_is_refused() {
    let fixture = Fixture::new().await;
    sqlx::query("PRAGMA user_version = 99").execute(&mut raw(&fixture).await).await.unwrap();
    let refused = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Store(StoreError::Newer { found: 99, known: 3, .. })), "{refused}");
}

#[tokio::test]
async fn an_inventory_that_is_not_durable_is_refused() {
    let refused = SqliteStore::open(Path::new(":memory:")).await;
    assert!(matches!(refused, Err(StoreError::NotDurable { .. })));
}

#[tokio::test]
async fn an_inventory_that_is_garbage_is_refused() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path().join("inventory.sqlite"), [7; 4096]).unwrap();
    let refused = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Store(_)), "{refused}");
}

/// What was about to be signed when the authority died can be revoked like any other.
#[tokio::test]
async fn a_certificate_that_was_recorded_and_never_finished_can_be_revoked() {
    let fixture = Fixture::new().await;
    let issued = fixture.mint("agent/a").await;
    let forget = "UPDATE certificate SET certificate = NULL, thumbprint = NULL";
    sqlx::query(forget).execute(&mut raw(&fixture).await).await.unwrap();
    let listed = fixture.authority.list(&Filter::default()).await.unwrap();
    assert_eq!(listed[0].thumbprint, None);
    let target = crate::Target::Identity(id("agent/a"));
    fixture.authority.revoke(&target, countermark_issue::RevocationReason::default()).await.unwrap();
    assert!(matches!(fixture.verify(&issued.chain), Err(ChainError::Revoked { .. })));
}

#[tokio::test]
async fn nothing_is_signed_that_could_not_be_written_down() {
    let fixture = Fixture::new().await;
    let calls = Arc::new(std::sync::Mutex::new(Vec::new()));
    let inner = SqliteStore::open(&fixture.path().join("inventory.sqlite")).await.unwrap();
    let authority = fixture.reopen();
    authority.with_store(Box::new(Watched { inner, calls: Arc::clone(&calls), full: false })).await;
    authority.mint(&request("agent/a")).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), ["record", "signed"]);

    calls.lock().unwrap().clear();
    let inner = SqliteStore::open(&fixture.path().join("inventory.sqlite")).await.unwrap();
    authority.with_store(Box::new(Watched { inner, calls: Arc::clone(&calls), full: true })).await;
    let before = fixture.numbers();
    let refused = authority.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Store(_)), "{refused}");
    assert_eq!(*calls.lock().unwrap(), ["record"], "no signature follows");
    assert_eq!(fixture.numbers(), before);
}

/// A store that says what it was asked, and whose disk may be full.
#[derive(Debug)]
struct Watched {
    inner: SqliteStore,
    calls: Arc<std::sync::Mutex<Vec<&'static str>>>,
    full: bool,
}

impl Store for Watched {
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
        self.calls.lock().unwrap().push("record");
        if self.full {
            return Box::pin(async { Err(StoreError::Corrupt("a full disk")) });
        }
        self.inner.record(change, audit, issuers)
    }

    fn signed<'a>(
        &'a mut self,
        leaf: Option<(&'a Serial, &'a [u8])>,
        crls: &'a [(String, Vec<u8>)],
    ) -> StoreFuture<'a, ()> {
        self.calls.lock().unwrap().push("signed");
        self.inner.signed(leaf, crls)
    }

    fn revoked<'a>(&'a mut self, issuer: &'a str, since: UnixTime) -> StoreFuture<'a, Vec<Revoked>> {
        self.inner.revoked(issuer, since)
    }

    fn certificates<'a>(&'a mut self, filter: &'a Filter) -> StoreFuture<'a, Vec<CertificateRecord>> {
        self.inner.certificates(filter)
    }

    fn commit<'a>(&'a mut self, writes: &'a [Write]) -> StoreFuture<'a, Vec<Written>> {
        self.inner.commit(writes)
    }

    fn leaves<'a>(&'a mut self, serials: &'a [Serial]) -> StoreFuture<'a, Vec<StoredLeaf>> {
        self.inner.leaves(serials)
    }

    fn invite<'a>(&'a mut self, secret_sha256: &'a str) -> StoreFuture<'a, Option<InviteRecord>> {
        self.inner.invite(secret_sha256)
    }

    fn audit<'a>(&'a mut self, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        self.inner.audit(entry)
    }

    fn audit_trail(&mut self, limit: u32) -> StoreFuture<'_, Vec<AuditRecord>> {
        self.inner.audit_trail(limit)
    }
}
