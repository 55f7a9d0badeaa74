//! EST: cacerts, csrattrs, simpleenroll, simplereenroll. [RFC 7030](https://www.rfc-editor.org/rfc/rfc7030)

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countermark_identity::{Identity, Role};
use countermark_issue::Csr;
use countermark_mtls::{VerifiedPeer, Visitor};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};

use crate::{
    record::{Act, IssuerKind, State as Standing},
    service::{
        Shared,
        body::{After, Body, admit},
        cms,
        desk::{Ground, Handed, Life, Wanted},
        invite, join,
        refusal::Refusal,
        revive::administrator,
    },
};

/// `GET /cacerts`: the root, then the intermediates that still live, the signing one first.
pub(super) async fn ca_certificates(State(shared): State<Arc<Shared>>) -> Response {
    let signing = shared.desk.signing();
    let now = shared.clock.now();
    let alive =
        signing.issuers.iter().filter(|issuer| issuer.kind == IssuerKind::Intermediate && issuer.not_after >= now);
    let (current, older): (Vec<_>, Vec<_>) = alive.partition(|issuer| issuer.key_id == signing.key_id);
    let above = current.into_iter().chain(older).map(|issuer| &issuer.certificate);
    certificates(cms::certs_only([shared.authority.root()].into_iter().chain(above)))
}

/// `GET /csrattrs`: the kind of key that the caller's profile would make.
pub(super) async fn csr_attributes(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let role = match &visitor {
        Visitor::Verified(peer) => peer.caller().role(),
        Visitor::Anonymous(_) => Role::Agent,
    };
    let profile = match shared.desk.profile(None, role, shared.clock.now()) {
        Ok(profile) => profile,
        Err(error) => return Refusal::from(error).into_text(),
    };
    match cms::csr_attributes(profile.default_key()) {
        Some(der) => base64(der, "application/csrattrs"),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// `POST /simpleenroll`: whoever brings a secret gets the identity that the secret stands for.
pub(super) async fn enrol(State(shared): State<Arc<Shared>>, After(secret, Body(body)): After<Presented>) -> Response {
    let enrolled = async {
        let csr = request(body?)?;
        match secret {
            Presented::Invite(secret) => invite::redeem(&shared, &secret, &csr).await,
            Presented::Token(token) => join::by_token(&shared, &token, &csr).await,
        }
    };
    answer(&shared, "simpleenroll", enrolled.await)
}

/// `POST /simplereenroll`: a new certificate for whoever has one, like the one before it but for the key.
pub(super) async fn reenrol(
    State(shared): State<Arc<Shared>>,
    After(Holder(peer), Body(body)): After<Holder>,
) -> Response {
    let renewed = renew(&shared, &peer, body).await;
    if let Err(refusal) = &renewed {
        shared.note_refusal(Act::Reenrol, Some(peer.caller().spiffe_id().as_str()), refusal);
    }
    answer(&shared, "simplereenroll", renewed)
}

/// Whoever has a certificate that can be renewed, and has not asked too often.
pub(super) struct Holder(VerifiedPeer<Identity>);

impl FromRequestParts<Arc<Shared>> for Holder {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let refused = |refusal| answer(shared, "simplereenroll", Err(refusal));
        let Some(Visitor::Verified(peer)) = parts.extensions.get::<Visitor>() else {
            return Err(refused(Refusal::unauthorized(
                "certificate_required",
                "renewal takes the certificate that is renewed; without one, enrol with an invite at simpleenroll",
            )));
        };
        let identity = peer.caller().spiffe_id();
        if peer.caller().role() == Role::Admin {
            let refusal = administrator();
            shared.note_refusal(Act::Reenrol, Some(identity.as_str()), &refusal);
            return Err(refused(refusal));
        }
        shared.limiter.identity(identity, shared.clock.now()).map_err(refused)?;
        Ok(Self(peer.clone()))
    }
}

async fn renew(
    shared: &Shared,
    peer: &VerifiedPeer<Identity>,
    body: Result<Bytes, Refusal>,
) -> Result<Handed, Refusal> {
    let csr = request(body?)?;
    let now = shared.clock.now();
    let leaf = peer.leaf();
    let stored = shared.desk.leaf(leaf.serial()).await?;
    // The row, not the path, says whether the authority knows it: a partner's root may sign for its own domain only, and
    // an identity is what the row says.
    let stored = stored.filter(|stored| stored.record.thumbprint.as_ref() == Some(leaf.thumbprint()));
    let Some(stored) = stored else {
        return Err(Refusal::forbidden(
            "unknown_certificate",
            "the inventory does not know this certificate; enrol anew with an invite",
        ));
    };
    if stored.record.state(now) == Standing::Revoked || stored.record.identity != *peer.caller().spiffe_id() {
        return Err(Refusal::forbidden("revoked", "the certificate is revoked; enrol anew with an invite"));
    }
    let wanted = shared.like(&stored, leaf, csr.public_key().clone())?;
    let detail = Some(format!("after {}", leaf.serial()));
    let ground = Ground { act: Act::Reenrol, detail, invite: None, after: Some(leaf.serial().clone()) };
    Ok(shared.desk.issue(wanted, ground, now).await?)
}

impl Shared {
    /// What follows a certificate: the same identity, names, profile and life, with the key of the request.
    pub(super) fn like(
        &self,
        stored: &crate::store::StoredLeaf,
        leaf: &countermark_identity::Leaf,
        public_key: countermark_issue::PublicKey,
    ) -> Result<Wanted, Refusal> {
        let record = &stored.record;
        let (dns, ip) = match &stored.names {
            Some(names) => names.clone(),
            None => self.names_of(leaf, record)?,
        };
        Ok(Wanted {
            identity: record.identity.clone(),
            public_key,
            profile: record.profile.clone(),
            life: Life::Like(stored.life()),
            dns,
            ip,
        })
    }
}

/// What the caller says about itself beside TLS.
pub(super) enum Presented {
    Invite(String),
    Token(String),
}

impl FromRequestParts<Arc<Shared>> for Presented {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let presented = admit(parts, shared).and_then(|()| Self::read(&parts.headers));
        presented.map_err(|refusal| answer(shared, "simpleenroll", Err(refusal)))
    }
}

impl Presented {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::unauthorized(
                "secret_required",
                "enrolment takes an invite (`Authorization: Basic`, user `invite`) or a token of a configured issuer",
            ));
        };
        let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Token(rest.trim().to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some(("invite", secret)) if !secret.is_empty() => Ok(Self::Invite(secret.to_owned())),
            _ => Err(malformed()),
        }
    }
}

fn malformed() -> Refusal {
    Refusal::unauthorized(
        "malformed_authorization",
        "the Authorization header is neither `Basic base64(invite:SECRET)` nor `Bearer TOKEN`",
    )
}

/// A request in base64, with or without line breaks, in PEM or in DER.
fn request(body: Bytes) -> Result<Csr, Refusal> {
    match body.first() {
        Some(b'-' | 0x30) => Ok(Csr::from_pem_or_der(&body)?),
        _ => {
            let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let der = STANDARD.decode(text).map_err(|_| {
                Refusal::bad_request(
                    "bad_request",
                    "the body is no certification request in base64; send PKCS#10 as EST says",
                )
            })?;
            Ok(Csr::parse(&der)?)
        }
    }
}

fn answer(shared: &Shared, path: &'static str, handed: Result<Handed, Refusal>) -> Response {
    match handed {
        Ok(handed) => {
            shared.metrics.issued(path);
            // The audit trail has it; a line of the log for each would cost a wave more than its signatures wait for.
            tracing::debug!(serial = %handed.serial, not_after = %handed.not_after, path, "issued");
            // > A successful response MUST be a certs-only CMC Simple PKI Response [...] containing only the certificate that was
            // > issued.
            //
            // [RFC 7030 §4.2.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.2.3). What leads to the root is at cacerts.
            certificates(cms::certs_only(handed.chain.first()))
        }
        Err(refusal) => {
            shared.metrics.refused(path, refusal.code);
            shared.log_refusal(path, &refusal);
            refusal.into_text()
        }
    }
}

fn certificates(der: Vec<u8>) -> Response {
    base64(der, "application/pkcs7-mime; smime-type=certs-only")
}

fn base64(der: Vec<u8>, kind: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (HeaderName::from_static("content-transfer-encoding"), HeaderValue::from_static("base64")),
    ];
    (headers, cms::base64_lines(&der)).into_response()
}
