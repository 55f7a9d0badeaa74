//! Which certificates are asked for, in SQL.

use std::fmt::Write as _;

use countermark_identity::{Serial, SpiffeId, UnixTime};
use countermark_issue::RevocationReason;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::{
    authority::GRACE,
    record::Filter,
    store::{StoreError, row::to_integer},
};

/// Each condition is added only where it is asked for, so that an index serves it.
pub(super) fn certificates(filter: &Filter) -> QueryBuilder<'_, Sqlite> {
    let mut query = QueryBuilder::new(CERTIFICATES);
    if let Some(serial) = &filter.serial {
        query.push(" AND serial = ").push_bind(serial.to_string());
    }
    if let Some(identity) = &filter.identity {
        of_identity(&mut query, identity);
    }
    if let Some(alive_at) = filter.alive_at {
        query.push(" AND not_after >= ").push_bind(to_integer(alive_at));
    }
    if filter.unrevoked {
        query.push(" AND revoked_at IS NULL");
    }
    if let Some(ended_at) = filter.ended_at {
        query.push(" AND not_after < ").push_bind(to_integer(ended_at));
    }
    if filter.revoked {
        query.push(" AND revoked_at IS NOT NULL");
    }
    if let Some(after) = &filter.after {
        query.push(" AND (-issued_at, serial) > (SELECT -issued_at, serial FROM certificate WHERE serial = ");
        query.push_bind(after.to_string()).push(")");
    }
    query.push(" ORDER BY issued_at DESC, serial");
    if let Some(limit) = filter.limit {
        query.push(" LIMIT ").push_bind(i64::from(limit));
    }
    query
}

/// Serials as one value, so that any number of them is one statement, which the connection keeps.
pub(super) fn as_json<'a>(serials: impl IntoIterator<Item = &'a Serial>) -> String {
    let mut json = String::from("[");
    for serial in serials {
        let comma = if json.len() > 1 { "," } else { "" };
        // Hexadecimal digits: nothing to escape.
        let _never_fails = write!(json, "{comma}\"{serial}\"");
    }
    json.push(']');
    json
}

/// Revokes an intermediate, and what it signed that lives or could still be renewed after its end.
pub(super) async fn revoke_issuer(
    connection: &mut SqliteConnection,
    key_id: &str,
    at: UnixTime,
    since: UnixTime,
    reason: RevocationReason,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE issuer SET revoked_at = ?1, reason = ?2 WHERE key_id = ?3 AND revoked_at IS NULL")
        .bind(to_integer(at))
        .bind(reason.as_str())
        .bind(key_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(REVOKE_SIGNED)
        .bind(to_integer(at))
        .bind(reason.as_str())
        .bind(key_id)
        .bind(to_integer(since))
        .execute(connection)
        .await?;
    Ok(())
}

/// Revokes what of an identity and of its sub-agents lives or could still be renewed after its end, whatever anybody has looked at before, and ends its invites that
/// nobody has redeemed: whoever lost the one right must not come back by the other.
pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    identity: &SpiffeId,
    at: UnixTime,
    reason: RevocationReason,
) -> Result<(), StoreError> {
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new("UPDATE certificate SET revoked_at = ");
    query.push_bind(to_integer(at)).push(", reason = ").push_bind(reason.as_str());
    query.push(" WHERE revoked_at IS NULL AND not_after >= ").push_bind(to_integer(at.saturating_sub(GRACE)));
    of_identity(&mut query, identity);
    query.build().execute(&mut *connection).await?;
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new("UPDATE invite SET expires_at = ");
    // Whatever the clock says where it is being redeemed: it has ended.
    query.push_bind(0).push(" WHERE expires_at >= ").push_bind(to_integer(at));
    of_identity(&mut query, identity);
    query.build().execute(connection).await?;
    Ok(())
}

/// Sub-agents too: "0" follows "/", and so bounds what begins with "/sub/".
fn of_identity<'a>(query: &mut QueryBuilder<'a, Sqlite>, identity: &'a SpiffeId) {
    query.push(" AND (identity = ").push_bind(identity.as_str());
    query.push(" OR (identity >= ").push_bind(format!("{identity}/sub/"));
    query.push(" AND identity < ").push_bind(format!("{identity}/sub0"));
    query.push("))");
}

const CERTIFICATES: &str = "SELECT serial, issuer, identity, profile, issued_at, not_before, not_after, \
    thumbprint, revoked_at, reason FROM certificate WHERE TRUE";

const REVOKE_SIGNED: &str = "UPDATE certificate SET revoked_at = ?1, reason = ?2 \
    WHERE issuer = ?3 AND not_after >= ?4 AND revoked_at IS NULL";
