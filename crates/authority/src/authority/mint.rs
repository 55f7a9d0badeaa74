//! Certificates for agents, servers and admins.

use std::{net::IpAddr, time::Duration};

use countermark_identity::{Serial, SpiffeId, UnixTime};
use countermark_issue::{Csr, LeafPlan, LeafRequest, Profile, PublicKey, Signer, SubjectError};
use rustls_pki_types::CertificateDer;

use crate::{
    authority::{Authority, Target, work::Work},
    error::AuthorityError,
    record::{Act, Outcome},
    store::{AuditEntry, Change, Reservation, sha256_hex},
    warning::Warning,
};

impl Authority {
    /// Mints a certificate: decided, written down, signed, judged, and then handed out. A refusal is written down too.
    pub async fn mint(&self, request: &MintRequest) -> Result<Issued, AuthorityError> {
        self.mint_by(request, None).await
    }

    /// As [`Authority::mint`], with this profile instead of the directory's.
    pub async fn mint_with_profile(&self, request: &MintRequest, profile: &Profile) -> Result<Issued, AuthorityError> {
        self.mint_by(request, Some(profile)).await
    }

    async fn mint_by(&self, request: &MintRequest, profile: Option<&Profile>) -> Result<Issued, AuthorityError> {
        let mut work = self.begin().await?;
        let issued = work.mint(request, profile).await;
        if let Err(error) = &issued {
            work.refuse(Act::Mint, Some(&Target::Identity(request.identity.clone())), error).await;
        }
        issued
    }

    fn decide(
        &self,
        signer: &Signer,
        request: &MintRequest,
        profile: Option<&Profile>,
        now: UnixTime,
    ) -> Result<LeafPlan, AuthorityError> {
        let identity = &request.identity;
        if identity.trust_domain() != &self.domain {
            return Err(AuthorityError::ForeignIdentity {
                identity: identity.clone(),
                trust_domain: self.domain.to_string(),
            });
        }
        let (role, _) = identity.role().ok_or(SubjectError::NoRole)?;
        let profile = match profile {
            Some(profile) => profile,
            None => &self.profile(role)?,
        };
        let public_key = request.subject_key.read()?;
        let request =
            LeafRequest { identity, public_key: &public_key, ttl: request.ttl, dns: &request.dns, ip: &request.ip };
        Ok(signer.plan(profile, &request, now)?)
    }
}

impl Work<'_> {
    async fn mint(&mut self, request: &MintRequest, profile: Option<&Profile>) -> Result<Issued, AuthorityError> {
        let warnings = self.maintain().await?;
        let signer = self.current()?;
        let plan = self.authority.decide(&signer, request, profile, self.now)?;
        let reservation = Reservation {
            serial: plan.serial().clone(),
            issuer: signer.key_id(),
            identity: plan.identity().clone(),
            issued_at: plan.issued_at(),
            not_before: plan.not_before(),
            not_after: plan.not_after(),
            spki_sha256: sha256_hex(plan.public_key().spki_der()),
            profile: None,
            dns: request.dns.clone(),
            ip: request.ip.clone(),
        };
        let audit = [AuditEntry {
            identity: Some(plan.identity().to_string()),
            serial: Some(plan.serial().to_string()),
            ..AuditEntry::new(self.now, Act::Mint, Outcome::Done)
        }];
        let leaf = self.publish(Change::Mint(&reservation), &audit, Some(&plan)).await?;
        let chain = leaf.into_iter().chain([signer.certificate().clone()]).collect();
        Ok(Issued {
            chain,
            serial: plan.serial().clone(),
            not_before: plan.not_before(),
            not_after: plan.not_after(),
            warnings,
        })
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct MintRequest {
    /// Who the certificate will speak for; its role picks the profile.
    pub identity: SpiffeId,
    /// The key that will be certified.
    pub subject_key: SubjectKey,
    /// How long it will live; the profile's default where absent.
    pub ttl: Option<Duration>,
    /// DNS names beside those of the profile.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
}

/// Where the certified key comes from. The private key never comes here.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a key is given or asked for")]
pub enum SubjectKey {
    /// The public half of a key that was made beside the authority.
    Public(PublicKey),
    /// A certification request, PEM or DER: its signature shows that the requester holds the key.
    Csr(Vec<u8>),
}

impl SubjectKey {
    fn read(&self) -> Result<PublicKey, AuthorityError> {
        match self {
            Self::Public(key) => Ok(key.clone()),
            Self::Csr(bytes) => Ok(Csr::from_pem_or_der(bytes)?.public_key().clone()),
        }
    }
}

/// A certificate that was minted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The leaf, then the intermediate.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's serial.
    pub serial: Serial,
    /// When the leaf begins.
    pub not_before: UnixTime,
    /// When the leaf ends.
    pub not_after: UnixTime,
    /// What will need a hand.
    pub warnings: Vec<Warning>,
}
