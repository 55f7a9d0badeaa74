//! When a certificate should be renewed, in the form of [RFC 9773](https://www.rfc-editor.org/rfc/rfc9773#section-4).

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_identity::{Serial, UnixTime};
use countermark_mtls::Visitor;
use http::header::RETRY_AFTER;
use serde_json::json;

use crate::{
    record::CertificateRecord,
    service::{Shared, refusal::Refusal},
};

/// `GET /v1/renewal-info/{cert-id}`.
pub(super) async fn renewal_info(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let now = shared.clock.now();
    shared.limiter.reader(visitor.remote().ip(), now)?;
    let unknown = || Refusal::not_found("no such certificate; the id is base64url(AKI) `.` base64url(serial)");
    let (authority, serial) = parse(&id).ok_or_else(unknown)?;
    let stored = shared.desk.leaf(&serial).await?.ok_or_else(unknown)?;
    let signing = shared.desk.signing();
    let issuer = signing.issuer(&stored.record.issuer).ok_or_else(unknown)?;
    if issuer.key_identifier.as_deref() != Some(authority.as_slice()) {
        return Err(unknown());
    }
    if stored.record.revoked_at.is_some() {
        return Err(Refusal::gone(
            "the certificate is revoked, and none that is revoked is renewed; enrol anew with an invite",
        ));
    }
    // From then on another intermediate signed.
    let replaced = (stored.record.issuer != signing.key_id).then(|| signing.signer.not_before());
    let window = Window::of(&stored.record, replaced);
    let body = json!({"suggestedWindow": {"start": window.start.to_string(), "end": window.end.to_string()}});
    Ok(([(RETRY_AFTER, window.look_again.to_string())], Json(body)).into_response())
}

/// [RFC 9773 §4.1](https://www.rfc-editor.org/rfc/rfc9773#section-4.1).
fn parse(id: &str) -> Option<(Vec<u8>, Serial)> {
    let (authority, serial) = id.split_once('.')?;
    let authority = URL_SAFE_NO_PAD.decode(authority).ok()?;
    let serial = Serial::from_der_integer(&URL_SAFE_NO_PAD.decode(serial).ok()?).ok()?;
    Some((authority, serial))
}

/// A window of renewal, and after how many seconds to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: UnixTime,
    end: UnixTime,
    look_again: u64,
}

impl Window {
    /// The window of a certificate, whose issuer was replaced at that time, if it was. It depends on nothing that passes: whoever
    /// asks again is told the same.
    fn of(record: &CertificateRecord, replaced: Option<UnixTime>) -> Self {
        let life = record.not_after.duration_since(record.issued_at);
        // Often enough to hear of a hurry, and never a herd.
        let look_again = (life.as_secs() / 20).clamp(30, 6 * 3600);
        let (from, to) = if life <= DAY { (40, 50) } else { (56, 66) };
        let at = |percent: u32| record.issued_at.saturating_add(life * percent / 100);
        let (start, end) = match replaced {
            Some(since) => (since, since.saturating_add(HURRY)),
            None => (at(from), at(to)),
        };
        Self { start, end, look_again }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Everybody at once would be a herd: ten minutes to choose from.
const HURRY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_417_200);

    fn record(life: u64) -> CertificateRecord {
        CertificateRecord {
            serial: "0a".parse().unwrap(),
            identity: "spiffe://agents.internal/agent/a".parse().unwrap(),
            issuer: "01234567".to_owned(),
            profile: None,
            issued_at: NOW,
            not_before: NOW,
            not_after: UnixTime::from_secs(NOW.as_secs() + life),
            thumbprint: None,
            revoked_at: None,
            reason: None,
        }
    }

    fn window(record: &CertificateRecord, replaced: Option<u64>) -> (u64, u64) {
        let replaced = replaced.map(|after| NOW.saturating_add(Duration::from_secs(after)));
        let window = Window::of(record, replaced);
        (window.start.as_secs() - NOW.as_secs(), window.end.as_secs() - NOW.as_secs())
    }

    #[test]
    fn short_lives_are_renewed_before_their_half_and_long_ones_before_two_thirds() {
        assert_eq!(window(&record(3600), None), (1440, 1800));
        assert_eq!(window(&record(86_400), None), (34_560, 43_200));
        assert_eq!(window(&record(100_000), None), (56_000, 66_000));
    }

    #[test]
    fn what_a_replaced_issuer_signed_is_renewed_within_ten_minutes_of_the_replacement() {
        assert_eq!(window(&record(3600), Some(0)), (0, 600));
        assert_eq!(window(&record(86_400), Some(3600)), (3600, 4200));
    }

    #[test]
    fn ids_are_read_as_the_rfc_writes_them() {
        // RFC 9773 §4.1: AKI 69:88:5B:6B:87:46:40:41:E1:B3:7B:84:7B:A0:AE:2C:DE:01:C8:D4, serial 00:87:65:43:21.
        let (authority, serial) = parse("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE").unwrap();
        assert_eq!((authority[0], authority.len()), (0x69, 20));
        assert_eq!(serial.as_bytes(), [0x87, 0x65, 0x43, 0x21]);
        for wrong in ["", ".", "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "!.AIdlQyE", "aYhb.!"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
