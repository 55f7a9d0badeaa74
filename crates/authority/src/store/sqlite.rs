//! The inventory in SQLite: one connection, write-ahead log, `synchronous=FULL`.

mod batch;
mod list;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use countermark_identity::{Serial, Thumbprint, UnixTime};
use countermark_issue::Revoked;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};

use crate::{
    record::{AuditRecord, CertificateRecord, Filter, IssuerRecord},
    store::{
        AuditEntry, Change, InviteRecord, Store, StoreError, StoreFuture, StoredLeaf, Write, Written,
        row::{self, to_integer},
    },
};

/// An inventory in a file.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    connection: SqliteConnection,
    path: PathBuf,
    tuning: Tuning,
    /// A transaction was begun and did not come to its end: the connection may still believe to be in it.
    suspect: bool,
}

impl SqliteStore {
    /// Makes an inventory of an empty file.
    pub(crate) async fn create(path: &Path) -> Result<Self, StoreError> {
        let (mut connection, _) = connect(path, &Tuning::BRIEF).await?;
        migrate(&mut connection).await?;
        Ok(Self { connection, path: path.to_owned(), tuning: Tuning::BRIEF, suspect: false })
    }

    /// Opens the inventory, and brings it up to this program's version. One that was emptied is not begun anew: it would
    /// know of no revocation.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_tuned(path, &Tuning::BRIEF).await
    }

    /// [`SqliteStore::open`], for a process that stays and writes much.
    pub(crate) async fn open_serving(path: &Path) -> Result<Self, StoreError> {
        Self::open_tuned(path, &Tuning::SERVING).await
    }

    async fn open_tuned(path: &Path, tuning: &Tuning) -> Result<Self, StoreError> {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
            return Err(StoreError::Corrupt("nothing"));
        }
        let (mut connection, found) = connect(path, tuning).await?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found < known {
            migrate(&mut connection).await?;
        }
        Ok(Self { connection, path: path.to_owned(), tuning: *tuning, suspect: false })
    }

    /// A connection on which a transaction can be begun, until which has ended well it is suspect.
    ///
    /// SQLite rolls a transaction back by itself where the disk is full, and the driver, which does not hear of it, refuses every
    /// later one on that connection.
    async fn sound(&mut self) -> Result<(), StoreError> {
        if self.suspect {
            self.connection = connect(&self.path, &self.tuning).await?.0;
        }
        self.suspect = true;
        Ok(())
    }

    /// Closes the inventory, the log folded into the database.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// How long another writer is waited for.
    busy: Duration,
    /// Pages of the log before it is folded into the database.
    log_pages: &'static str,
    /// Pages that are kept in memory; a negative number counts KiB.
    cache: &'static str,
}

impl Tuning {
    /// Whoever opens the inventory reads the whole log: keep it short.
    const BRIEF: Self = Self { busy: Duration::from_secs(10), log_pages: "64", cache: "-2000" };
    /// Fold rarely, keep the indexes at hand, and say soon that another process does not let go.
    const SERVING: Self = Self { busy: Duration::from_secs(3), log_pages: "4000", cache: "-65536" };
}

impl Store for SqliteStore {
    fn issuers(&mut self) -> StoreFuture<'_, Vec<IssuerRecord>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM issuer ORDER BY not_before DESC, rowid DESC")
                .fetch_all(&mut self.connection)
                .await?;
            rows.iter().map(row::issuer).collect()
        })
    }

    fn living_issuers(&mut self, now: UnixTime) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async move {
            let rows = sqlx::query(LIVING).bind(to_integer(now)).fetch_all(&mut self.connection).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
    }

    fn add_issuer<'a>(&'a mut self, issuer: &'a IssuerRecord, audit: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.sound().await?;
            let mut transaction = self.connection.begin_with(BEGIN).await?;
            sqlx::query(ADD_ISSUER)
                .bind(&issuer.key_id)
                .bind(issuer.kind.as_str())
                .bind(&issuer.certificate)
                .bind(to_integer(issuer.not_before))
                .bind(to_integer(issuer.not_after))
                .execute(&mut *transaction)
                .await?;
            batch::add_audit(&mut transaction, &[audit]).await?;
            transaction.commit().await?;
            self.suspect = false;
            Ok(())
        })
    }

    fn record<'a>(
        &'a mut self,
        change: Change<'a>,
        audit: &'a [AuditEntry],
        issuers: &'a [String],
    ) -> StoreFuture<'a, Vec<u64>> {
        Box::pin(async move {
            self.sound().await?;
            let mut transaction = self.connection.begin_with(BEGIN).await?;
            match change {
                Change::Mint(reservation) => batch::reserve(&mut transaction, &[reservation]).await?,
                Change::Revoke { serials, identity, at, reason } => {
                    if let Some(identity) = identity {
                        list::revoke(&mut transaction, identity, at, reason).await?;
                    }
                    for serial in serials {
                        sqlx::query(REVOKE)
                            .bind(to_integer(at))
                            .bind(reason.as_str())
                            .bind(serial.to_string())
                            .execute(&mut *transaction)
                            .await?;
                    }
                }
                Change::RevokeIssuer { key_id, at, since, reason } => {
                    list::revoke_issuer(&mut transaction, key_id, at, since, reason).await?;
                }
                Change::Crls => {}
            }
            for entry in audit {
                batch::add_audit(&mut transaction, &[entry]).await?;
            }
            let mut numbers = Vec::with_capacity(issuers.len());
            for issuer in issuers {
                let row = sqlx::query(NEXT_NUMBER).bind(issuer).fetch_one(&mut *transaction).await?;
                let number: i64 = row.try_get(0)?;
                numbers.push(u64::try_from(number).map_err(|_| StoreError::Corrupt("a CRL number"))?);
            }
            transaction.commit().await?;
            self.suspect = false;
            Ok(numbers)
        })
    }

    fn signed<'a>(
        &'a mut self,
        leaf: Option<(&'a Serial, &'a [u8])>,
        crls: &'a [(String, Vec<u8>)],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.sound().await?;
            let mut transaction = self.connection.begin_with(BEGIN).await?;
            if let Some((serial, der)) = leaf {
                sqlx::query(KEEP_LEAF)
                    .bind(der)
                    .bind(Thumbprint::of(der).to_hex())
                    .bind(serial.to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
            for (issuer, der) in crls {
                sqlx::query(KEEP_CRL).bind(der).bind(issuer).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            self.suspect = false;
            Ok(())
        })
    }

    fn revoked<'a>(&'a mut self, issuer: &'a str, since: UnixTime) -> StoreFuture<'a, Vec<Revoked>> {
        Box::pin(async move {
            let rows =
                sqlx::query(REVOKED).bind(issuer).bind(to_integer(since)).fetch_all(&mut self.connection).await?;
            rows.iter().map(row::revoked).collect()
        })
    }

    fn certificates<'a>(&'a mut self, filter: &'a Filter) -> StoreFuture<'a, Vec<CertificateRecord>> {
        Box::pin(async move {
            let mut query = list::certificates(filter);
            let rows: Vec<SqliteRow> = query.build().fetch_all(&mut self.connection).await?;
            rows.iter().map(row::certificate).collect()
        })
    }

    fn commit<'a>(&'a mut self, writes: &'a [Write]) -> StoreFuture<'a, Vec<Written>> {
        Box::pin(async move {
            self.sound().await?;
            let written = batch::commit(&mut self.connection, writes).await?;
            self.suspect = false;
            Ok(written)
        })
    }

    fn leaves<'a>(&'a mut self, serials: &'a [Serial]) -> StoreFuture<'a, Vec<StoredLeaf>> {
        Box::pin(async move {
            let rows = sqlx::query(LEAVES).bind(list::as_json(serials)).fetch_all(&mut self.connection).await?;
            rows.iter().map(row::leaf).collect()
        })
    }

    fn invite<'a>(&'a mut self, secret_sha256: &'a str) -> StoreFuture<'a, Option<InviteRecord>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM invite WHERE secret_sha256 = ?1")
                .bind(secret_sha256)
                .fetch_optional(&mut self.connection)
                .await?;
            row.as_ref().map(row::invite).transpose()
        })
    }

    fn audit<'a>(&'a mut self, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(async move { batch::add_audit(&mut self.connection, &[entry]).await })
    }

    fn audit_trail(&mut self, limit: u32) -> StoreFuture<'_, Vec<AuditRecord>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM audit ORDER BY id DESC LIMIT ?1")
                .bind(i64::from(limit))
                .fetch_all(&mut self.connection)
                .await?;
            rows.iter().map(row::audit).collect()
        })
    }
}

/// The database, found to be durable, and the version of its tables.
async fn connect(path: &Path, tuning: &Tuning) -> Result<(SqliteConnection, i64), StoreError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(tuning.busy)
        .pragma("wal_autocheckpoint", tuning.log_pages)
        .pragma("cache_size", tuning.cache)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let facts = sqlx::query(FACTS).fetch_one(&mut connection).await?;
    let (journal, synchronous): (String, i64) = (facts.try_get(0)?, facts.try_get(1)?);
    if journal != "wal" || synchronous != SYNCHRONOUS_FULL {
        return Err(StoreError::NotDurable { journal, synchronous });
    }
    Ok((connection, facts.try_get(2)?))
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // Read again under the lock: another process may have been first.
    let version = sqlx::query("PRAGMA user_version").fetch_one(&mut *transaction).await?;
    let version: i64 = version.try_get(0)?;
    let done = usize::try_from(version).map_err(|_| StoreError::Corrupt("its version"))?;
    for migration in MIGRATIONS.iter().skip(done) {
        // Not `raw_sql(…).execute(…)`: its future is not `Send` for every lifetime.
        transaction.execute(*migration).await?;
    }
    Ok(transaction.commit().await?)
}

/// One script a version; each ends with its `PRAGMA user_version`.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/0001_inventory.sql"),
    include_str!("../../migrations/0002_enrolment.sql"),
    include_str!("../../migrations/0003_issuers.sql"),
];

/// Takes the write lock at once: a transaction that finds out later that it writes cannot wait for it.
const BEGIN: &str = "BEGIN IMMEDIATE";
const SYNCHRONOUS_FULL: i64 = 2;

const FACTS: &str = "SELECT journal_mode, synchronous, user_version \
    FROM pragma_journal_mode, pragma_synchronous, pragma_user_version";
const ADD_ISSUER: &str = "INSERT INTO issuer (key_id, kind, certificate, not_before, not_after) \
    VALUES (?1, ?2, ?3, ?4, ?5)";
const LIVING: &str = "SELECT key_id FROM issuer WHERE kind = 'intermediate' AND EXISTS \
    (SELECT 1 FROM certificate WHERE issuer = key_id AND certificate.not_after >= ?1) \
    ORDER BY not_before DESC, rowid DESC";
const REVOKE: &str = "UPDATE certificate SET revoked_at = ?1, reason = ?2 \
    WHERE serial = ?3 AND revoked_at IS NULL";
const LEAVES: &str = "SELECT * FROM certificate WHERE serial IN (SELECT value FROM json_each(?1))";
const NEXT_NUMBER: &str = "UPDATE issuer SET crl_number = crl_number + 1 WHERE key_id = ?1 RETURNING crl_number";
const KEEP_LEAF: &str = "UPDATE certificate SET certificate = ?1, thumbprint = ?2 WHERE serial = ?3";
const KEEP_CRL: &str = "UPDATE issuer SET crl = ?1 WHERE key_id = ?2";
const REVOKED: &str = "SELECT serial, revoked_at, reason FROM certificate \
    WHERE issuer = ?1 AND not_after >= ?2 AND revoked_at IS NOT NULL ORDER BY serial";
