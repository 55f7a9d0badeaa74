//! What everybody may read: the trust bundle, and the revocation lists with a long poll.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use countermark_credential::Crl;
use countermark_identity::{Thumbprint, UnixTime};
use countermark_issue::{KeyType, PublicKey, ca_facts};
use countermark_mtls::Visitor;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::{
    authority::Authority,
    error::AuthorityError,
    service::{Shared, refusal::Refusal},
};

/// The revocation lists as they are handed out.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) pem: String,
    pub(crate) etag: String,
    pub(crate) crls: Vec<Arc<Crl>>,
}

impl Lists {
    /// Reads the authority's file: the intermediates' first, then the root's.
    pub(crate) fn read(authority: &Authority) -> Result<Self, AuthorityError> {
        let mut crls: Vec<Arc<Crl>> = authority.crls()?.into_iter().map(Arc::new).collect();
        // The file has the root's first.
        let intermediates = crls.len().min(1);
        crls.rotate_left(intermediates);
        let pem: String = crls.iter().map(|crl| crl.to_pem()).collect();
        let etag = format!("\"{}\"", Thumbprint::of(pem.as_bytes()).to_hex());
        Ok(Self { pem, etag, crls })
    }

    /// When the first of them is stale.
    pub(crate) fn next_update(&self) -> Option<UnixTime> {
        self.crls.iter().map(|crl| crl.next_update()).min()
    }

    /// The signing intermediate's.
    pub(crate) fn current(&self) -> Option<&Arc<Crl>> {
        self.crls.first()
    }
}

/// `GET /v1/crl`: at once, or as soon as it changes for whoever has the newest and prefers to wait.
pub(super) async fn crl(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shared.limiter.reader(visitor.remote().ip(), shared.clock.now())?;
    let mut lists = shared.lists.subscribe();
    let mut latest = Arc::clone(&lists.borrow_and_update());
    let has = |etag: &str| headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, etag));
    if has(&latest.etag) {
        if let Some(wait) = preferred_wait(&headers)
            && let Some(_place) = shared.waiting.place(&visitor)
        {
            tokio::select! {
                _ = tokio::time::timeout(wait, lists.changed()) => {}
                () = shared.over.cancelled() => {}
            }
            latest = Arc::clone(&lists.borrow());
        }
        if has(&latest.etag) {
            return Ok((StatusCode::NOT_MODIFIED, [(ETAG, latest.etag.clone())]).into_response());
        }
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, [(ETAG, latest.etag.clone())], latest.pem.clone()).into_response())
}

/// Whether one of the tags is this one.
fn names(known: &HeaderValue, etag: &str) -> bool {
    let tag = |tag: &str| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag) == etag || tag == "*"
    };
    known.to_str().is_ok_and(|known| known.split(',').any(tag))
}

/// `Prefer: wait=SECONDS`, [RFC 7240 §4.3](https://www.rfc-editor.org/rfc/rfc7240#section-4.3); a minute at most.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let value = preference.split(';').next()?.trim().strip_prefix("wait")?.trim_start().strip_prefix('=')?;
        value.trim().parse::<u64>().ok()
    })?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// `GET /v1/bundle`: the roots in the form of a SPIFFE bundle.
pub(super) async fn bundle(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shared.limiter.reader(visitor.remote().ip(), shared.clock.now())?;
    let bundle = shared.authority.bundle()?;
    let keys: Vec<Value> = bundle.roots().iter().filter_map(jwk).collect();
    let body = json!({
        "keys": keys,
        "spiffe_sequence": bundle.sequence().unwrap_or(1),
        "spiffe_refresh_hint": REFRESH,
    });
    let etag = format!("\"{}\"", Thumbprint::of(body.to_string().as_bytes()).to_hex());
    if headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    Ok(([(ETAG, etag)], Json(body)).into_response())
}

/// [SPIFFE Trust Domain and Bundle §4](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md).
fn jwk(root: &CertificateDer<'static>) -> Option<Value> {
    let mut key = parameters(&ca_facts(root).ok()?.public_key)?;
    let members = key.as_object_mut()?;
    members.insert("use".to_owned(), json!("x509-svid"));
    members.insert("x5c".to_owned(), json!([STANDARD.encode(root)]));
    Some(key)
}

/// The public key's own members; of a kind that no root of ours has, nothing.
fn parameters(key: &PublicKey) -> Option<Value> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let point = |curve: &str, size: usize| {
        let (x, y) = key.key_bytes().get(1..)?.split_at_checked(size)?;
        Some(json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)}))
    };
    match key.key_type() {
        KeyType::P256 => point("P-256", 32),
        KeyType::P384 => point("P-384", 48),
        KeyType::Ed25519 => Some(json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.key_bytes())})),
        KeyType::Rsa3072 => {
            let (n, e) = rsa(key.key_bytes())?;
            Some(json!({"kty": "RSA", "n": text(n), "e": text(e)}))
        }
    }
}

/// The two integers of an RSAPublicKey, without the zero that keeps them positive.
fn rsa(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, _) = element(0x30, der)?;
    let (n, rest) = element(0x02, inside)?;
    let (e, _) = element(0x02, rest)?;
    Some((n.strip_prefix(&[0]).unwrap_or(n), e.strip_prefix(&[0]).unwrap_or(e)))
}

/// The content of the first element, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        short if short < 0x80 => (usize::from(short), rest),
        0x81 => rest.split_first().map(|(byte, rest)| (usize::from(*byte), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(bytes, rest)| (usize::from(u16::from_be_bytes(*bytes)), rest))?,
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

const LONGEST_WAIT: u64 = 60;
/// How many seconds a bundle may be believed without asking again.
const REFRESH: u64 = 300;

#[cfg(test)]
mod tests {
    use countermark_issue::KeyPair;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static("prefer"), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(preferred_wait(&headers("respond-async, wait=10")), Some(Duration::from_secs(10)));
        assert_eq!(preferred_wait(&headers("wait=100000")), Some(Duration::from_secs(60)));
        for none in ["wait=0", "wait=x", "waiting=3", ""] {
            assert_eq!(preferred_wait(&headers(none)), None, "{none}");
        }
    }

    #[test]
    fn every_kind_of_root_has_its_members() {
        for (kind, names) in [
            (KeyType::P256, ["crv", "x", "y"].as_slice()),
            (KeyType::P384, &["crv", "x", "y"]),
            (KeyType::Ed25519, &["crv", "x"]),
            (KeyType::Rsa3072, &["n", "e"]),
        ] {
            let members = parameters(KeyPair::generate(kind).unwrap().public_key()).unwrap();
            assert!(names.iter().all(|name| members[*name].as_str().is_some_and(|text| !text.is_empty())), "{members}");
        }
    }
}
