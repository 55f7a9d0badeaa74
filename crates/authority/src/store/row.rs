//! Rows to records.

use std::{net::IpAddr, time::Duration};

use countermark_identity::{Serial, Thumbprint, UnixTime};
use countermark_issue::Revoked;
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::{
    record::{Act, AuditRecord, CertificateRecord, IssuerKind, IssuerRecord, Outcome},
    store::{InviteRecord, StoreError, StoredLeaf},
};

pub(super) fn certificate(row: &SqliteRow) -> Result<CertificateRecord, StoreError> {
    Ok(CertificateRecord {
        serial: serial(row)?,
        identity: parsed(row, "identity")?,
        issuer: row.try_get("issuer")?,
        profile: row.try_get("profile")?,
        issued_at: time(row, "issued_at")?,
        not_before: time(row, "not_before")?,
        not_after: time(row, "not_after")?,
        thumbprint: thumbprint(row)?,
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(to_time).transpose()?,
        reason: optional(row, "reason")?,
    })
}

pub(super) fn leaf(row: &SqliteRow) -> Result<StoredLeaf, StoreError> {
    let (dns, ip): (Option<&str>, Option<&str>) = (row.try_get("dns")?, row.try_get("ip")?);
    let names = match (dns, ip) {
        (Some(dns), Some(ip)) => Some((words(dns), addresses(ip)?)),
        _ => None,
    };
    Ok(StoredLeaf {
        record: certificate(row)?,
        certificate: row.try_get("certificate")?,
        spki_sha256: row.try_get("spki_sha256")?,
        names,
    })
}

pub(super) fn invite(row: &SqliteRow) -> Result<InviteRecord, StoreError> {
    let seconds: Option<i64> = row.try_get("ttl")?;
    Ok(InviteRecord {
        id: row.try_get("id")?,
        secret_sha256: row.try_get("secret_sha256")?,
        identity: parsed(row, "identity")?,
        profile: row.try_get("profile")?,
        dns: words(row.try_get("dns")?),
        ip: addresses(row.try_get("ip")?)?,
        ttl: seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        created_at: time(row, "created_at")?,
        created_by: row.try_get("created_by")?,
        expires_at: time(row, "expires_at")?,
        used_at: row.try_get::<Option<i64>, _>("used_at")?.map(to_time).transpose()?,
        spki_sha256: row.try_get("spki_sha256")?,
        serial: optional(row, "serial")?,
    })
}

/// Names as one text: none of them holds a space.
pub(super) fn joined<T: ToString>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn addresses(text: &str) -> Result<Vec<IpAddr>, StoreError> {
    let parsed = text.split_whitespace().map(str::parse);
    parsed.collect::<Result<_, _>>().map_err(|_| StoreError::Corrupt("an IP address"))
}

pub(super) fn revoked(row: &SqliteRow) -> Result<Revoked, StoreError> {
    Ok(Revoked { serial: serial(row)?, at: time(row, "revoked_at")?, reason: parsed(row, "reason")? })
}

pub(super) fn issuer(row: &SqliteRow) -> Result<IssuerRecord, StoreError> {
    let kind: String = row.try_get("kind")?;
    let at = row.try_get::<Option<i64>, _>("revoked_at")?.map(to_time).transpose()?;
    Ok(IssuerRecord {
        revoked: at.zip(optional(row, "reason")?),
        key_id: row.try_get("key_id")?,
        kind: match kind.as_str() {
            "root" => IssuerKind::Root,
            "intermediate" => IssuerKind::Intermediate,
            _ => return Err(StoreError::Corrupt("an unknown kind of CA")),
        },
        certificate: row.try_get("certificate")?,
        not_before: time(row, "not_before")?,
        not_after: time(row, "not_after")?,
        crl: row.try_get("crl")?,
    })
}

pub(super) fn audit(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    let outcome: String = row.try_get("outcome")?;
    let act: String = row.try_get("act")?;
    Ok(AuditRecord {
        id: row.try_get("id")?,
        at: time(row, "at")?,
        act: act.parse::<Act>().map_err(|()| StoreError::Corrupt("an unknown act"))?,
        outcome: if outcome == "done" { Outcome::Done } else { Outcome::Refused },
        identity: row.try_get("identity")?,
        serial: row.try_get("serial")?,
        detail: row.try_get("detail")?,
    })
}

/// A time as SQLite's signed integer; times beyond it do not exist in X.509.
pub(super) fn to_integer(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn to_time(seconds: i64) -> Result<UnixTime, StoreError> {
    u64::try_from(seconds).map(UnixTime::from_secs).map_err(|_| StoreError::Corrupt("a time before 1970"))
}

pub(super) fn time(row: &SqliteRow, column: &'static str) -> Result<UnixTime, StoreError> {
    to_time(row.try_get(column)?)
}

fn serial(row: &SqliteRow) -> Result<Serial, StoreError> {
    parsed(row, "serial")
}

fn thumbprint(row: &SqliteRow) -> Result<Option<Thumbprint>, StoreError> {
    let text: Option<&str> = row.try_get("thumbprint")?;
    let corrupt = |_| StoreError::Corrupt("a thumbprint");
    text.map(|text| Thumbprint::from_hex(text).map_err(corrupt)).transpose()
}

pub(super) fn parsed<T: std::str::FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Corrupt(column))
}

fn optional<T: std::str::FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Corrupt(column))).transpose()
}
