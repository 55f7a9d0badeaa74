//! From our seconds to rcgen's dates.

use ::time::OffsetDateTime;
use countermark_identity::UnixTime;

/// The date of `at`; times beyond what X.509 can write (the year 9999) become its last second.
pub(crate) fn to_date(at: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(END_OF_X509).min(END_OF_X509);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// 9999-12-31T23:59:59Z, the last moment that X.509 can write.
const END_OF_X509: i64 = 253_402_300_799;
