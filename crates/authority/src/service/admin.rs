//! What administrators ask for: minting, listing, revoking, inviting. The certificate of an `/admin/` identity decides.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, Query, State},
};
use countermark_identity::{Identity, Role, Serial, SpiffeId, TrustDomain};
use countermark_issue::{Csr, RevocationReason, to_pem};
use countermark_mtls::Visitor;
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    authority::Target,
    record::{Act, Filter},
    service::{
        Shared,
        body::After,
        desk::{Ground, Handed, Life, Wanted},
        invite::{InviteRequest, made},
        refusal::Refusal,
    },
};

/// Evidence that the caller administers this authority, and has not asked too often.
#[derive(Debug)]
pub(super) struct Admin(SpiffeId);

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        match parts.extensions.get::<Visitor>() {
            Some(Visitor::Verified(peer)) => match peer.caller() {
                Identity::Admin(admin) if admin.trust_domain() == shared.authority.trust_domain() => {
                    shared.limiter.identity(admin.spiffe_id(), shared.clock.now())?;
                    Ok(Self(admin.spiffe_id().clone()))
                }
                other => {
                    let refusal =
                        Refusal::forbidden("not_an_administrator", "this takes the certificate of an /admin/ identity");
                    shared.note_refusal(act_of(parts), Some(other.spiffe_id().as_str()), &refusal);
                    Err(refusal)
                }
            },
            _ => Err(certificate_required()),
        }
    }
}

pub(super) fn certificate_required() -> Refusal {
    Refusal::unauthorized("certificate_required", "this takes a client certificate of this trust domain")
}

fn act_of(parts: &Parts) -> Act {
    match parts.uri.path() {
        "/v1/revocations" => Act::Revoke,
        "/v1/invites" => Act::Invite,
        _ => Act::Mint,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MintDocument {
    role: String,
    name: String,
    profile: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    ip: Vec<IpAddr>,
    ttl: Option<String>,
    csr: String,
}

/// `POST /v1/certificates`.
pub(super) async fn mint(
    State(shared): State<Arc<Shared>>,
    After(Admin(admin), body): After<Admin>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let asked: MintDocument = body.json()?;
    let identity = identity(&shared, &asked.role, &asked.name)?;
    let minted = mint_for(&shared, &admin, identity.clone(), asked).await;
    match minted {
        Ok(handed) => {
            shared.metrics.issued("certificates");
            tracing::info!(%identity, serial = %handed.serial, by = %admin, "minted");
            let chain: Vec<String> = handed.chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect();
            let body = json!({
                "serial": handed.serial.to_string(), "spiffe_id": identity.as_str(),
                "not_after": handed.not_after.to_string(), "chain": chain,
            });
            Ok((StatusCode::CREATED, Json(body)))
        }
        Err(refusal) => {
            shared.metrics.refused("certificates", refusal.code);
            shared.note_refusal(Act::Mint, Some(identity.as_str()), &refusal);
            Err(refusal)
        }
    }
}

async fn mint_for(shared: &Shared, by: &SpiffeId, identity: SpiffeId, asked: MintDocument) -> Result<Handed, Refusal> {
    let csr = Csr::from_pem_or_der(asked.csr.as_bytes())?;
    let wanted = Wanted {
        identity,
        public_key: csr.public_key().clone(),
        profile: asked.profile,
        life: Life::Asked(asked.ttl.as_deref().map(duration).transpose()?),
        dns: asked.dns,
        ip: asked.ip,
    };
    let ground = Ground { act: Act::Mint, detail: Some(format!("by {by}")), invite: None, after: None };
    Ok(shared.desk.issue(wanted, ground, shared.clock.now()).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    agent: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

/// `GET /v1/certificates`, the newest first, in pages.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Admin(_): Admin,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Query(asked) = query.map_err(|error| Refusal::bad_request("bad_request", error.body_text()))?;
    let now = shared.clock.now();
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let known = |what: &str| Refusal::bad_request("bad_request", format!("`{what}` is not known here"));
    let named = |name: &str| named(name, shared.authority.trust_domain()).ok_or_else(|| known(name));
    let mut filter = Filter {
        identity: asked.agent.as_deref().map(named).transpose()?,
        after: asked.after.as_deref().map(|serial| serial.parse::<Serial>().map_err(|_| known(serial))).transpose()?,
        limit: Some(limit),
        ..Filter::default()
    };
    match asked.state.as_deref() {
        None | Some("all") => {}
        Some("live") => (filter.alive_at, filter.unrevoked) = (Some(now), true),
        Some("expired") => (filter.ended_at, filter.unrevoked) = (Some(now), true),
        Some("revoked") => filter.revoked = true,
        Some(other) => return Err(known(other)),
    }
    let records = shared.desk.reader().await.certificates(&filter).await?;
    let full = u32::try_from(records.len()).is_ok_and(|found| found == limit);
    let next = records.last().filter(|_| full).map(|last| last.serial.to_string());
    let rows: Vec<_> = records.iter().map(|record| record.row(now)).collect();
    Ok(Json(json!({"certificates": rows, "next": next})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationDocument {
    serial: Option<String>,
    agent: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/revocations`: answered when the new list is published.
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    After(Admin(admin), body): After<Admin>,
) -> Result<Json<Value>, Refusal> {
    let asked: RevocationDocument = body.json()?;
    let wrong = |what: &str| {
        Refusal::bad_request("bad_request", format!("{what}; give `serial` or `agent`, and a `reason` of RFC 5280"))
    };
    let target = match (&asked.serial, &asked.agent) {
        (Some(serial), None) => Target::Serial(serial.parse().map_err(|_| wrong("the serial is not hexadecimal"))?),
        (None, Some(name)) => {
            let identity =
                named(name, shared.authority.trust_domain()).ok_or_else(|| wrong("the name is no identity"))?;
            Target::Identity(identity)
        }
        _ => return Err(wrong("one of the two is revoked")),
    };
    let reason = match &asked.reason {
        Some(reason) => reason.parse().map_err(|_| wrong("the reason is unknown"))?,
        None => RevocationReason::default(),
    };
    let (doing, by) = (Arc::clone(&shared), admin.clone());
    // A task of its own: a caller that hangs up must not leave a revocation without its list.
    let revoked = tokio::spawn(async move {
        let revocation = doing.authority.revoke_for(&target, reason, Some(&by)).await;
        doing.reload_lists();
        revocation
    });
    let broken = |_| Refusal::later("unfinished", "the revocation broke off; ask again", 1);
    let revocation = revoked.await.map_err(broken)??;
    let revoked: Vec<String> = revocation.revoked.iter().map(|record| record.serial.to_string()).collect();
    tracing::info!(count = revoked.len(), by = %admin, %reason, "revoked");
    let number = shared.lists.borrow().current().and_then(|crl| crl.number()).map(|number| number.to_string());
    let number = number.and_then(|number| number.parse::<u64>().ok());
    Ok(Json(json!({"revoked": revoked, "crl_number": number})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteDocument {
    role: String,
    name: String,
    profile: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    ip: Vec<IpAddr>,
    ttl: Option<String>,
    #[serde(default = "quarter_of_an_hour")]
    valid_for: String,
}

/// `POST /v1/invites`.
pub(super) async fn invite(
    State(shared): State<Arc<Shared>>,
    After(Admin(admin), body): After<Admin>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let asked: InviteDocument = body.json()?;
    let request = InviteRequest {
        identity: identity(&shared, &asked.role, &asked.name)?,
        profile: asked.profile,
        ttl: asked.ttl.as_deref().map(duration).transpose()?,
        dns: asked.dns,
        ip: asked.ip,
        valid_for: duration(&asked.valid_for)?,
        url: shared.url.clone(),
        authority: shared.me.clone(),
    };
    let (record, invite) = shared.authority.new_invite(&request, admin.as_str())?;
    shared.desk.ledger.write(made(record)).await?;
    let body = json!({"invite": invite.text.expose(), "id": invite.id, "expires": invite.expires.to_string()});
    Ok((StatusCode::CREATED, Json(body)))
}

/// Agents and servers: administrators are minted with the authority's directory alone.
fn identity(shared: &Shared, role: &str, name: &str) -> Result<SpiffeId, Refusal> {
    let unknown = |_| Refusal::bad_request("bad_request", "`role` is agent or server");
    let role: Role = role.parse().map_err(unknown)?;
    if role == Role::Admin {
        return Err(Refusal::forbidden(
            "admin_refused",
            "administrators are minted with the authority's directory alone: `countermark mint admin NAME --ca DIR`",
        ));
    }
    SpiffeId::new(shared.authority.trust_domain(), role, name)
        .map_err(|error| Refusal::bad_request("bad_request", format!("the name `{name}`: {error}")))
}

/// A bare agent's NAME, `agent/NAME`, `server/NAME`, `admin/NAME`, or a SPIFFE ID of `domain`.
fn named(text: &str, domain: &TrustDomain) -> Option<SpiffeId> {
    if text.starts_with("spiffe://") {
        return text.parse().ok().filter(|id: &SpiffeId| id.trust_domain() == domain);
    }
    let (role, name) = text.split_once('/').unwrap_or(("agent", text));
    SpiffeId::new(domain, role.parse().ok()?, name).ok()
}

/// `90s`, `15m`, `1h`, `7d`.
fn duration(text: &str) -> Result<Duration, Refusal> {
    let wrong = || Refusal::bad_request("bad_request", format!("`{text}` is no time; write 90s, 15m, 1h or 7d"));
    let at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

fn quarter_of_an_hour() -> String {
    "15m".to_owned()
}

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
