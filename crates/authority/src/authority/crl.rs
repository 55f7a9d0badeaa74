//! CRLs: one for each CA of the chain, in one file.

use std::{path::PathBuf, time::Duration};

use countermark_credential::Crl;
use countermark_identity::UnixTime;
use countermark_issue::{CrlPlan, LeafPlan, Revoked, Signer, ca_facts, to_pem};
use rustls_pki_types::CertificateDer;

use crate::{
    authority::{Authority, work::Work},
    directory::{PUBLIC, replace},
    error::AuthorityError,
    record::{Act, IssuerKind, Outcome},
    store::{AuditEntry, Change},
    warning::Warning,
};

/// How long an intermediate's CRL may be believed: 7 days, for a directory where each mint and revocation signs anew.
pub const CRL_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Authority {
    /// Signs the intermediates' CRLs anew; the root's stays as it is until the intermediate is renewed.
    pub async fn crl(&self) -> Result<CrlReport, AuthorityError> {
        let mut work = self.begin().await?;
        let report = work.crl().await;
        if let Err(error) = &report {
            work.refuse(Act::Crl, None, error).await;
        }
        report
    }
}

impl Work<'_> {
    async fn crl(&mut self) -> Result<CrlReport, AuthorityError> {
        let warnings = self.maintain().await?;
        let audit = [AuditEntry::new(self.now, Act::Crl, Outcome::Done)];
        self.publish(Change::Crls, &audit, None).await?;
        let path = self.authority.directory.crls();
        let next_update = self.now.saturating_add(self.authority.crl_life);
        Ok(CrlReport { path, next_update, crls: self.authority.crls()?, warnings })
    }

    /// Writes the change down, signs the leaf and every living CA's CRL, keeps them, and replaces the CRL file.
    pub(super) async fn publish(
        &mut self,
        change: Change<'_>,
        audit: &[AuditEntry],
        leaf: Option<&LeafPlan>,
    ) -> Result<Option<CertificateDer<'static>>, AuthorityError> {
        let current = self.current()?;
        let now = self.now;
        let mut issuers = vec![current.key_id()];
        let living = self.store().await?.living_issuers(now).await?;
        issuers.extend(living.into_iter().filter(|issuer| *issuer != current.key_id()));
        let numbers = self.store().await?.record(change, audit, &issuers).await?;

        let signed = leaf.map(|plan| current.sign(plan)).transpose()?;
        let mut crls = Vec::with_capacity(issuers.len());
        for (issuer, number) in issuers.into_iter().zip(numbers) {
            let der = self.sign_crl(&issuer, number).await?;
            crls.push((issuer, der));
        }
        let kept = leaf.zip(signed.as_ref()).map(|(plan, der)| (plan.serial(), der.as_ref()));
        self.store().await?.signed(kept, &crls).await?;
        self.write_crls(&crls).await?;
        Ok(signed)
    }

    async fn sign_crl(&mut self, issuer: &str, number: u64) -> Result<Vec<u8>, AuthorityError> {
        let signer = self.signer(issuer)?;
        let now = self.now;
        // RFC 5280 §3.3: what is revoked and has expired stays listed until every CRL that could still be believed lists
        // it with an end in the past.
        let longest = CRL_LIFE.max(self.authority.crl_life);
        let revoked = self.store().await?.revoked(issuer, now.saturating_sub(longest)).await?;
        let plan = CrlPlan {
            number,
            this_update: now,
            next_update: now.saturating_add(self.authority.crl_life),
            revoked: &revoked,
        };
        Ok(signer.crl(&plan)?.as_ref().to_vec())
    }

    /// Signs the root's CRL, which lives as long as the intermediate that it speaks of.
    pub(super) async fn sign_root_crl(&mut self, root: &Signer, until: UnixTime) -> Result<(), AuthorityError> {
        let key_id = root.key_id();
        let issuers = [key_id.clone()];
        let mut revoked = Vec::new();
        for issuer in self.store().await?.issuers().await? {
            let Some((at, reason)) = issuer.revoked.filter(|_| issuer.not_after >= self.now) else { continue };
            let serial = ca_facts(&issuer.certificate)?.serial;
            revoked.push(Revoked { serial, at, reason });
        }
        let numbers = self.store().await?.record(Change::Crls, &[], &issuers).await?;
        for number in numbers {
            let plan = CrlPlan { number, this_update: self.now, next_update: until, revoked: &revoked };
            let der = root.crl(&plan)?.as_ref().to_vec();
            self.store().await?.signed(None, &[(key_id.clone(), der)]).await?;
        }
        Ok(())
    }

    /// The file that peers read: the root's CRL, then the intermediates', the signing one first.
    async fn write_crls(&mut self, crls: &[(String, Vec<u8>)]) -> Result<(), AuthorityError> {
        let issuers = self.store().await?.issuers().await?;
        let root = issuers.into_iter().filter(|issuer| issuer.kind == IssuerKind::Root);
        let mut text = String::new();
        for der in root.filter_map(|root| root.crl) {
            text.push_str(&to_pem("X509 CRL", &der));
        }
        for (_, der) in crls {
            text.push_str(&to_pem("X509 CRL", der));
        }
        replace(&self.authority.directory.crls(), text.as_bytes(), PUBLIC)
    }
}

/// What was signed.
#[derive(Debug)]
#[non_exhaustive]
pub struct CrlReport {
    /// The file that holds the CRLs of every CA of the chain.
    pub path: PathBuf,
    /// When the intermediate's CRL must have been signed anew.
    pub next_update: UnixTime,
    /// The CRLs, the root's first.
    pub crls: Vec<Crl>,
    /// What will need a hand.
    pub warnings: Vec<Warning>,
}
