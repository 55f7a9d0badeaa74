//! Which certificates are asked for, in SQL.

use countermark_identity::{SpiffeId, UnixTime};
use countermark_issue::RevocationReason;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::{
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

/// Revokes what lives of an identity and of its sub-agents, whatever anybody has looked at before, and ends its invites that
/// nobody has redeemed: whoever lost the one right must not come back by the other.
pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    identity: &SpiffeId,
    at: UnixTime,
    reason: RevocationReason,
) -> Result<(), StoreError> {
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new("UPDATE certificate SET revoked_at = ");
    query.push_bind(to_integer(at)).push(", reason = ").push_bind(reason.as_str());
    query.push(" WHERE revoked_at IS NULL AND not_after >= ").push_bind(to_integer(at));
    of_identity(&mut query, identity);
    query.build().execute(&mut *connection).await?;
    let mut query: QueryBuilder<'_, Sqlite> = QueryBuilder::new("UPDATE invite SET expires_at = ");
    query.push_bind(to_integer(at).saturating_sub(1)).push(" WHERE expires_at >= ").push_bind(to_integer(at));
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
