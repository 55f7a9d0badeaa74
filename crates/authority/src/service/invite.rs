//! Invites: secrets that enrol one identity once.

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_identity::{Role, Secret, SpiffeId, Thumbprint, UnixTime};
use countermark_issue::Csr;
use serde::Serialize;

use crate::{
    authority::Authority,
    error::AuthorityError,
    record::{Act, Outcome, State},
    service::{
        Shared,
        desk::{DeskError, Ground, Handed, Life, Wanted},
        refusal::Refusal,
    },
    store::{AuditEntry, InviteRecord, Write, sha256_hex},
};

/// Whom an invite is for, and what its certificate will be.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct InviteRequest {
    /// Who the certificate will speak for.
    pub identity: SpiffeId,
    /// The profile by name; the role's own where absent.
    pub profile: Option<String>,
    /// How long the certificate will live; the profile's default where absent.
    pub ttl: Option<Duration>,
    /// DNS names beside those of the profile.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
    /// How long the invite can be redeemed.
    pub valid_for: Duration,
    /// Where the authority serves, `https://HOST:PORT`.
    pub url: String,
    /// Who serves there.
    pub authority: SpiffeId,
}

/// An invite, to be handed to whoever is invited and to nobody else.
#[derive(Debug)]
#[non_exhaustive]
pub struct Invite {
    /// Its name in the audit trail.
    pub id: String,
    /// Until when it can be redeemed.
    pub expires: UnixTime,
    /// The text of the invite file; whoever reads it may enrol.
    pub text: Secret<String>,
}

/// The invite file.
#[derive(Serialize)]
struct File<'a> {
    version: u8,
    url: &'a str,
    authority: &'a str,
    identity: &'a str,
    root_sha256: String,
    secret: &'a str,
    expires: String,
}

impl Authority {
    /// Makes an invite: the inventory keeps the SHA-256 of its secret alone.
    pub async fn invite(&self, request: &InviteRequest, by: &str) -> Result<Invite, AuthorityError> {
        let (record, invite) = self.new_invite(request, by)?;
        let write = made(record);
        self.commit(&[write]).await?;
        Ok(invite)
    }

    /// An invite that is not yet written down.
    pub(crate) fn new_invite(
        &self,
        request: &InviteRequest,
        by: &str,
    ) -> Result<(InviteRecord, Invite), AuthorityError> {
        let identity = &request.identity;
        if identity.trust_domain() != self.trust_domain() {
            return Err(AuthorityError::ForeignIdentity {
                identity: identity.clone(),
                trust_domain: self.trust_domain().to_string(),
            });
        }
        let Some((role @ (Role::Agent | Role::Server), _)) = identity.role() else {
            return Err(AuthorityError::NotInvited(identity.clone()));
        };
        // A broken or missing profile is found now, and not by whoever is invited.
        match &request.profile {
            Some(name) => self.named_profile(name, role)?,
            None => self.profile(role)?,
        };
        if request.valid_for > LONGEST {
            return Err(AuthorityError::InviteTooLong(request.valid_for));
        }
        let (id, secret) = (random::<8>()?, Secret::new(random::<32>()?));
        let now = self.clock().now();
        let expires = now.saturating_add(request.valid_for);
        let file = File {
            version: 1,
            url: &request.url,
            authority: request.authority.as_str(),
            identity: identity.as_str(),
            root_sha256: Thumbprint::of(self.root()).to_hex(),
            secret: secret.expose(),
            expires: expires.to_string(),
        };
        let text = toml::to_string(&file).map(Secret::new).map_err(|_| AuthorityError::NotInvited(identity.clone()))?;
        let record = InviteRecord {
            id: id.clone(),
            secret_sha256: sha256_hex(secret.expose().as_bytes()),
            identity: identity.clone(),
            profile: request.profile.clone(),
            dns: request.dns.clone(),
            ip: request.ip.clone(),
            ttl: request.ttl,
            created_at: now,
            created_by: by.to_owned(),
            expires_at: expires,
            used_at: None,
            spki_sha256: None,
            serial: None,
        };
        Ok((record, Invite { id, expires, text }))
    }
}

/// The invite with its line in the audit trail.
pub(crate) fn made(record: InviteRecord) -> Write {
    let audit = AuditEntry {
        identity: Some(record.identity.to_string()),
        detail: Some(format!("invite {} until {}, by {}", record.id, record.expires_at, record.created_by)),
        ..AuditEntry::new(record.created_at, Act::Invite, Outcome::Done)
    };
    Write::Invite(Box::new(record), audit)
}

fn random<const N: usize>() -> Result<String, AuthorityError> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| AuthorityError::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

/// Enrols whoever brings the secret; the same key gets the same answer again.
pub(super) async fn redeem(shared: &Shared, secret: &str, csr: &Csr) -> Result<Handed, Refusal> {
    let secret_sha256 = sha256_hex(secret.as_bytes());
    let Some(invite) = find(shared, &secret_sha256).await? else {
        let refusal = Refusal::unauthorized("invite_unknown", "no such invite; ask for a new one");
        shared.note_refusal(Act::Join, None, &refusal);
        return Err(refusal);
    };
    let handed = match handed_before(shared, &invite, csr).await {
        Ok(Some(handed)) => Ok(handed),
        Ok(None) => first(shared, &invite, csr).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &handed {
        shared.note_refusal(Act::Join, Some(invite.identity.as_str()), refusal);
    }
    handed
}

async fn find(shared: &Shared, secret_sha256: &str) -> Result<Option<InviteRecord>, Refusal> {
    Ok(shared.desk.reader().await.invite(secret_sha256).await?)
}

async fn first(shared: &Shared, invite: &InviteRecord, csr: &Csr) -> Result<Handed, Refusal> {
    let now = shared.clock.now();
    if invite.expires_at < now && invite.used_at.is_none() {
        return Err(Refusal::forbidden("invite_expired", "the invite has expired; ask for a new one"));
    }
    let wanted = Wanted {
        identity: invite.identity.clone(),
        public_key: csr.public_key().clone(),
        profile: invite.profile.clone(),
        life: Life::Asked(invite.ttl),
        dns: invite.dns.clone(),
        ip: invite.ip.clone(),
    };
    let detail = Some(format!("invite {}", invite.id));
    let ground = Ground { act: Act::Join, detail, invite: Some(invite.secret_sha256.clone()), after: None };
    match shared.desk.issue(wanted, ground, now).await {
        Ok(handed) => Ok(handed),
        // Somebody was faster; it may have been this very key, on another connection.
        Err(DeskError::Spent) => match find(shared, &invite.secret_sha256).await? {
            Some(invite) => handed_before(shared, &invite, csr).await?.ok_or_else(unfinished),
            None => Err(DeskError::Spent.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// What this key was handed for this invite; nothing where nobody has redeemed it, or where nothing came of it.
async fn handed_before(shared: &Shared, invite: &InviteRecord, csr: &Csr) -> Result<Option<Handed>, Refusal> {
    let Some(redeemed_by) = &invite.spki_sha256 else { return Ok(None) };
    let used = || Refusal::forbidden("invite_used", "the invite has been used by another key; ask for a new one");
    if *redeemed_by != sha256_hex(csr.public_key().spki_der()) {
        return Err(used());
    }
    let Some(serial) = &invite.serial else { return Ok(None) };
    let stored = shared.desk.leaf(serial).await?.ok_or_else(used)?;
    let Some(certificate) = stored.certificate else { return Ok(None) };
    if stored.record.state(shared.clock.now()) != State::Live {
        return Err(used());
    }
    let signing = shared.desk.signing();
    let issuer = signing.issuer(&stored.record.issuer).ok_or_else(used)?;
    let chain = vec![certificate.into(), issuer.certificate.clone()];
    Ok(Some(Handed { chain, serial: stored.record.serial, not_after: stored.record.not_after }))
}

fn unfinished() -> Refusal {
    Refusal::later("unfinished", "the invite is being redeemed with this key; try again", 2)
}

/// How long an invite can be redeemed at most: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
