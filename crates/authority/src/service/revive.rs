//! Renewal after expiry: the old key proves itself over a nonce, since the TLS verifier accepts no expired certificate.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use countermark_identity::{Leaf, Role, Thumbprint, UnixTime};
use countermark_issue::{Csr, PublicKey, to_pem};
use countermark_mtls::Visitor;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    authority::GRACE,
    record::{Act, State as Standing},
    service::{
        Shared,
        body::{After, Stranger},
        desk::{Ground, Handed},
        nonce::{LENGTH, NONCE_LIFE},
        refusal::Refusal,
    },
    store::StoredLeaf,
};

/// `GET /v1/nonce`.
pub(super) async fn nonce(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let now = shared.clock.now();
    shared.limiter.stranger(visitor.remote().ip(), now)?;
    let nonce = URL_SAFE_NO_PAD.encode(shared.nonces.issue(now)?);
    Ok(Json(json!({"nonce": nonce, "authority": shared.me.as_str(), "expires_in": NONCE_LIFE})))
}

/// What proves that an expired certificate's key still asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    nonce: String,
    chain: Vec<String>,
    csr: String,
    signature: String,
}

/// `POST /v1/renew-expired`.
pub(super) async fn renew_expired(
    State(shared): State<Arc<Shared>>,
    After(Stranger, body): After<Stranger>,
) -> Result<Json<Value>, Refusal> {
    let now = shared.clock.now();
    let mut identity = None;
    let revived = revive(&shared, body.json()?, now, &mut identity).await;
    match revived {
        Ok(handed) => {
            shared.metrics.issued("renew-expired");
            tracing::info!(serial = %handed.serial, not_after = %handed.not_after, "issued after expiry");
            let chain: Vec<String> = handed.chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect();
            Ok(Json(json!({"chain": chain})))
        }
        Err(refusal) => {
            shared.metrics.refused("renew-expired", refusal.code);
            shared.note_refusal(Act::Revive, identity.as_deref(), &refusal);
            Err(refusal)
        }
    }
}

/// Nobody goes on administering for ever by what was minted once.
pub(super) fn administrator() -> Refusal {
    Refusal::forbidden(
        "admin_refused",
        "administrators are minted with the authority's directory alone: `countermark mint admin NAME --ca DIR`",
    )
}

async fn revive(
    shared: &Shared,
    proof: Proof,
    now: UnixTime,
    identity: &mut Option<String>,
) -> Result<Handed, Refusal> {
    let nonce: [u8; LENGTH] = decoded(&proof.nonce)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Refusal::bad_request("bad_request", "`nonce` is not 32 bytes in base64url"))?;
    let old = proof.chain.first().and_then(|leaf| decoded(leaf)).unwrap_or_default();
    let leaf = Leaf::parse(&old)
        .map_err(|error| Refusal::bad_request("bad_request", format!("`chain` does not begin with a leaf: {error}")))?;
    let csr = decoded(&proof.csr).ok_or_else(|| Refusal::bad_request("bad_request", "`csr` is not base64"))?;
    let signature = decoded(&proof.signature).unwrap_or_default();
    shared.nonces.stands(&nonce, now).map_err(spent)?;
    let stored = known(shared, &leaf).await?;
    let key = PublicKey::from_spki(leaf.spki_der())
        .map_err(|error| Refusal::forbidden("not_allowed", format!("the old certificate's key: {error}")))?;
    key.verify(&message(&nonce, shared.me.as_str(), &csr), &signature).map_err(|_| {
        Refusal::forbidden(
            "bad_signature",
            "the signature is not the old certificate's over this nonce, authority and request",
        )
    })?;
    // Anybody may have the old certificate; from here on it is somebody with its key.
    *identity = Some(stored.record.identity.to_string());
    let csr = Csr::parse(&csr)?;
    require_in_grace(&stored, now)?;
    // Last: a refused attempt uses up nothing, and nobody without the old key makes us remember anything.
    shared.nonces.take(&nonce, now).map_err(spent)?;
    shared.limiter.identity(&stored.record.identity, now)?;
    let wanted = shared.like(&stored, &leaf, csr.public_key().clone())?;
    let detail = Some(format!("after {}, which ended {}", leaf.serial(), leaf.not_after()));
    Ok(shared
        .desk
        .issue(wanted, Ground { act: Act::Revive, detail, invite: None, after: Some(leaf.serial().clone()) }, now)
        .await?)
}

/// The inventory's row of exactly this certificate: that we have issued it needs no other proof.
async fn known(shared: &Shared, leaf: &Leaf) -> Result<StoredLeaf, Refusal> {
    let stored = shared.desk.leaf(leaf.serial()).await?;
    stored.filter(|stored| stored.record.thumbprint.as_ref() == Some(leaf.thumbprint())).ok_or_else(|| {
        Refusal::forbidden(
            "unknown_certificate",
            "the inventory does not know this certificate; enrol anew with an invite",
        )
    })
}

fn require_in_grace(stored: &StoredLeaf, now: UnixTime) -> Result<(), Refusal> {
    if stored.record.state(now) == Standing::Revoked {
        return Err(Refusal::forbidden("revoked", "the certificate is revoked; enrol anew with an invite"));
    }
    if stored.record.identity.role().is_some_and(|(role, _)| role == Role::Admin) {
        return Err(administrator());
    }
    if now > stored.record.not_after.saturating_add(GRACE) {
        let ended = stored.record.not_after;
        return Err(Refusal::forbidden(
            "beyond_grace",
            format!("the certificate ended {ended}, more than 72 h ago; enrol anew with an invite"),
        ));
    }
    Ok(())
}

/// What the old key signs.
pub(crate) fn message(nonce: &[u8; LENGTH], authority: &str, csr: &[u8]) -> Vec<u8> {
    let length = u16::try_from(authority.len()).unwrap_or(u16::MAX).to_be_bytes();
    let hash = Thumbprint::of(csr);
    [CONTEXT, nonce, &length, authority.as_bytes(), hash.as_bytes()].concat()
}

fn spent(error: super::nonce::NonceError) -> Refusal {
    Refusal::forbidden("bad_nonce", error.to_string())
}

/// Base64 in either alphabet.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='))).ok()
}

const CONTEXT: &[u8] = b"countermark-renew-expired-v1\0";
