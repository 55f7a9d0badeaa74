//! Revocation, by serial or by identity.

use countermark_identity::{Serial, SpiffeId};
use countermark_issue::RevocationReason;

use crate::{
    authority::{Authority, work::Work},
    error::AuthorityError,
    record::{Act, CertificateRecord, Filter, Outcome},
    store::{AuditEntry, Change},
    warning::Warning,
};

impl Authority {
    /// Revokes a certificate, or every living certificate of an identity and of its sub-agents, and signs the CRLs.
    /// Whatever is revoked already keeps its date and reason; asking twice changes nothing but the CRL's number.
    pub async fn revoke(&self, target: &Target, reason: RevocationReason) -> Result<Revocation, AuthorityError> {
        self.revoke_for(target, reason, None).await
    }

    /// [`Authority::revoke`], and who asked for it is written down.
    pub(crate) async fn revoke_for(
        &self,
        target: &Target,
        reason: RevocationReason,
        by: Option<&SpiffeId>,
    ) -> Result<Revocation, AuthorityError> {
        let mut work = self.begin().await?;
        let revocation = work.revoke(target, reason, by).await;
        if let Err(error) = &revocation {
            work.refuse(Act::Revoke, Some(target), error).await;
        }
        revocation
    }
}

impl Work<'_> {
    async fn revoke(
        &mut self,
        target: &Target,
        reason: RevocationReason,
        by: Option<&SpiffeId>,
    ) -> Result<Revocation, AuthorityError> {
        let found = self.find(target).await?;
        let (already, revoked): (Vec<_>, Vec<_>) = found.into_iter().partition(|record| record.revoked_at.is_some());
        let serials: Vec<Serial> = revoked.iter().map(|record| record.serial.clone()).collect();
        let why = by.map_or_else(|| reason.to_string(), |by| format!("{reason}, by {by}"));
        let audit = self.lines(target, &revoked, &why);
        let warnings = self.maintain().await?;
        let identity = match target {
            Target::Identity(identity) => Some(identity),
            Target::Serial(_) => None,
        };
        let change = Change::Revoke { serials: &serials, identity, at: self.now, reason };
        self.publish(change, &audit, None).await?;
        let revoked = self.with_late_ones(target, revoked, &already, &why).await?;
        Ok(Revocation { revoked, already, warnings })
    }

    /// What was issued beside us while we looked is revoked with the rest, and written down like it.
    async fn with_late_ones(
        &mut self,
        target: &Target,
        mut revoked: Vec<CertificateRecord>,
        already: &[CertificateRecord],
        why: &str,
    ) -> Result<Vec<CertificateRecord>, AuthorityError> {
        let known =
            |record: &CertificateRecord, all: &[CertificateRecord]| all.iter().any(|one| one.serial == record.serial);
        let found = self.find(target).await?;
        let is_late = |record: &CertificateRecord| {
            record.revoked_at.is_some() && !known(record, &revoked) && !known(record, already)
        };
        let late: Vec<_> = found.into_iter().filter(is_late).collect();
        if !late.is_empty() {
            for entry in self.lines(target, &late, why) {
                self.store().await?.audit(&entry).await?;
            }
            revoked.extend(late);
        }
        Ok(revoked)
    }

    async fn find(&mut self, target: &Target) -> Result<Vec<CertificateRecord>, AuthorityError> {
        let now = self.now;
        let store = self.store().await?;
        match target {
            Target::Serial(serial) => {
                let filter = Filter { serial: Some(serial.clone()), ..Filter::default() };
                let found = store.certificates(&filter).await?;
                if found.is_empty() {
                    return Err(AuthorityError::UnknownSerial(serial.clone()));
                }
                Ok(found)
            }
            Target::Identity(identity) => {
                let known = Filter { identity: Some(identity.clone()), ..Filter::default() };
                let alive = Filter { alive_at: Some(now), ..known.clone() };
                let found = store.certificates(&alive).await?;
                if found.is_empty() && store.certificates(&known).await?.is_empty() {
                    return Err(AuthorityError::UnknownIdentity(identity.clone()));
                }
                Ok(found)
            }
        }
    }

    /// One line for each certificate, or one for a request that found nothing left to revoke.
    fn lines(&self, target: &Target, revoked: &[CertificateRecord], why: &str) -> Vec<AuditEntry> {
        let entry = |detail: String| AuditEntry {
            detail: Some(detail),
            ..AuditEntry::new(self.now, Act::Revoke, Outcome::Done)
        };
        if revoked.is_empty() {
            let (identity, serial) = match target {
                Target::Serial(serial) => (None, Some(serial.to_string())),
                Target::Identity(identity) => (Some(identity.to_string()), None),
            };
            return vec![AuditEntry { identity, serial, ..entry("nothing was left to revoke".to_owned()) }];
        }
        revoked
            .iter()
            .map(|record| AuditEntry {
                identity: Some(record.identity.to_string()),
                serial: Some(record.serial.to_string()),
                ..entry(why.to_owned())
            })
            .collect()
    }
}

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers name one of these")]
pub enum Target {
    /// One certificate.
    Serial(Serial),
    /// Every living certificate of an identity and of its sub-agents.
    Identity(SpiffeId),
}

/// What a revocation did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revocation {
    /// Certificates that are revoked from now on.
    pub revoked: Vec<CertificateRecord>,
    /// Certificates that had been revoked before.
    pub already: Vec<CertificateRecord>,
    /// What will need a hand.
    pub warnings: Vec<Warning>,
}
