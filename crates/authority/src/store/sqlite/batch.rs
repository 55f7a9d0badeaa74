//! Many changes in one transaction: one wait for the disk, few statements.

use std::collections::HashSet;

use countermark_identity::{Serial, Thumbprint, UnixTime};
use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{BEGIN, list::as_json};
use crate::store::{
    AuditEntry, InviteRecord, Reservation, StoreError, Write, Written,
    row::{joined, to_integer},
};

/// How long a certificate that an invite was redeemed for may take from record to signature, before whoever redeemed it may
/// ask anew: the authority died in between.
const UNFINISHED: u64 = 10;

/// Rows of one statement; SQLite takes 32,766 values at most.
const ROWS: usize = 256;

/// Does all of it or nothing.
pub(super) async fn commit(connection: &mut SqliteConnection, writes: &[Write]) -> Result<Vec<Written>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let mut written = Vec::with_capacity(writes.len());
    let (mut reservations, mut audit, mut kept): (Vec<&Reservation>, Vec<&AuditEntry>, Vec<Kept<'_>>) =
        (Vec::new(), Vec::new(), Vec::new());
    let revoked = revoked_among(&mut transaction, writes).await?;
    for write in writes {
        written.push(Written::Done);
        match write {
            Write::Reserve { after: Some(after), .. } if revoked.contains(&after.to_string()) => {
                if let Some(last) = written.last_mut() {
                    *last = Written::Revoked;
                }
            }
            Write::Reserve { reservation, audit: entry, .. } => {
                reservations.push(reservation);
                audit.push(entry);
            }
            Write::Redeem { secret_sha256, at, reservation, audit: entry } => {
                // The invite refers to the certificate: its row comes first, and goes again if the invite is spent.
                if redeem(&mut transaction, secret_sha256, *at, reservation).await? {
                    audit.push(entry);
                } else if let Some(last) = written.last_mut() {
                    *last = Written::Spent;
                }
            }
            Write::Keep { serial, certificate } => kept.push((serial, certificate)),
            Write::Invite(invite, entry) => {
                add_invite(&mut transaction, invite).await?;
                audit.push(entry);
            }
            Write::Audit(entry) => audit.push(entry),
            Write::Trial => trial(&mut transaction).await?,
        }
    }
    for rows in reservations.chunks(ROWS) {
        reserve(&mut transaction, rows).await?;
    }
    for rows in kept.chunks(ROWS) {
        keep(&mut transaction, rows).await?;
    }
    for rows in audit.chunks(ROWS) {
        add_audit(&mut transaction, rows).await?;
    }
    transaction.commit().await?;
    Ok(written)
}

/// Writes a page without changing what it says.
async fn trial(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE issuer SET crl_number = crl_number WHERE rowid = (SELECT MIN(rowid) FROM issuer)")
        .execute(connection)
        .await?;
    Ok(())
}

/// Which of those that are to be followed are revoked: looked at within the transaction, so that no renewal slips past a
/// revocation that was written just now.
async fn revoked_among(connection: &mut SqliteConnection, writes: &[Write]) -> Result<HashSet<String>, StoreError> {
    let followed: Vec<&Serial> = writes
        .iter()
        .filter_map(|write| match write {
            Write::Reserve { after, .. } => after.as_ref(),
            _ => None,
        })
        .collect();
    if followed.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query(REVOKED_AMONG).bind(as_json(followed)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

type Kept<'a> = (&'a Serial, &'a Vec<u8>);

/// Writes down what is about to be signed.
pub(super) async fn reserve(connection: &mut SqliteConnection, rows: &[&Reservation]) -> Result<(), StoreError> {
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new(RESERVE);
    query.push_values(rows, |mut row, reservation| {
        row.push_bind(reservation.serial.to_string())
            .push_bind(&reservation.issuer)
            .push_bind(reservation.identity.as_str())
            .push_bind(to_integer(reservation.issued_at))
            .push_bind(to_integer(reservation.not_before))
            .push_bind(to_integer(reservation.not_after))
            .push_bind(&reservation.spki_sha256)
            .push_bind(&reservation.profile)
            .push_bind(joined(&reservation.dns))
            .push_bind(joined(&reservation.ip));
    });
    query.build().execute(connection).await?;
    Ok(())
}

async fn keep(connection: &mut SqliteConnection, rows: &[Kept<'_>]) -> Result<(), StoreError> {
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new(KEEP);
    query.push_values(rows, |mut row, (serial, certificate)| {
        row.push_bind(serial.to_string())
            .push_bind(certificate.as_slice())
            .push_bind(Thumbprint::of(certificate).to_hex());
    });
    query.push(KEPT);
    query.build().execute(connection).await?;
    Ok(())
}

/// Writes lines of the audit trail.
pub(super) async fn add_audit(connection: &mut SqliteConnection, rows: &[&AuditEntry]) -> Result<(), StoreError> {
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new(AUDIT);
    query.push_values(rows, |mut row, entry| {
        row.push_bind(to_integer(entry.at))
            .push_bind(entry.act.as_str())
            .push_bind(entry.outcome.as_str())
            .push_bind(&entry.identity)
            .push_bind(&entry.serial)
            .push_bind(&entry.detail);
    });
    query.build().execute(connection).await?;
    Ok(())
}

/// Whether the invite is this key's. The certificate's row stands only if it is.
async fn redeem(
    connection: &mut SqliteConnection,
    secret_sha256: &str,
    at: UnixTime,
    reservation: &Reservation,
) -> Result<bool, StoreError> {
    let mut savepoint = connection.begin().await?;
    reserve(&mut savepoint, &[reservation]).await?;
    let done = sqlx::query(REDEEM)
        .bind(to_integer(at))
        .bind(&reservation.spki_sha256)
        .bind(reservation.serial.to_string())
        .bind(secret_sha256)
        .bind(to_integer(UnixTime::from_secs(at.as_secs().saturating_sub(UNFINISHED))))
        .execute(&mut *savepoint)
        .await?;
    let won = done.rows_affected() == 1;
    if won {
        savepoint.commit().await?;
    } else {
        savepoint.rollback().await?;
    }
    Ok(won)
}

async fn add_invite(connection: &mut SqliteConnection, invite: &InviteRecord) -> Result<(), StoreError> {
    let ttl = invite.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    sqlx::query(ADD_INVITE)
        .bind(&invite.id)
        .bind(&invite.secret_sha256)
        .bind(invite.identity.as_str())
        .bind(&invite.profile)
        .bind(joined(&invite.dns))
        .bind(joined(&invite.ip))
        .bind(ttl)
        .bind(to_integer(invite.created_at))
        .bind(&invite.created_by)
        .bind(to_integer(invite.expires_at))
        .execute(connection)
        .await?;
    Ok(())
}

const REVOKED_AMONG: &str = "SELECT serial FROM certificate WHERE revoked_at IS NOT NULL \
    AND serial IN (SELECT value FROM json_each(?1))";
const RESERVE: &str = "INSERT INTO certificate \
    (serial, issuer, identity, issued_at, not_before, not_after, spki_sha256, profile, dns, ip) ";
// `OR FAIL`, here and below: the transaction is rolled back whole, so that no statement need remember how to undo itself.
const KEEP: &str = "WITH kept (serial, certificate, thumbprint) AS (";
const KEPT: &str = ") UPDATE OR FAIL certificate SET certificate = kept.certificate, thumbprint = kept.thumbprint \
    FROM kept WHERE certificate.serial = kept.serial";
const AUDIT: &str = "INSERT OR FAIL INTO audit (at, act, outcome, identity, serial, detail) ";
/// Once; or again by the same key, where what it was redeemed for was never finished.
const REDEEM: &str = "UPDATE invite SET used_at = ?1, spki_sha256 = ?2, serial = ?3 \
    WHERE secret_sha256 = ?4 AND expires_at >= ?1 AND (used_at IS NULL OR (spki_sha256 = ?2 AND used_at <= ?5 \
    AND (SELECT certificate FROM certificate WHERE serial = invite.serial) IS NULL))";
const ADD_INVITE: &str = "INSERT INTO invite \
    (id, secret_sha256, identity, profile, dns, ip, ttl, created_at, created_by, expires_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
