//! Revocation of an intermediate: the root says it, and whatever the intermediate signed goes with it.

use countermark_identity::UnixTime;
use countermark_issue::RevocationReason;

use crate::{
    authority::{Authority, GRACE, work::Work},
    error::AuthorityError,
    record::{Act, Filter, IssuerKind, Outcome},
    store::{AuditEntry, Change},
};

impl Authority {
    /// Revokes the intermediate with this key id: the root's CRL lists it, and its own lists everything that it signed. Where it
    /// signs now, another does from then on. Takes the root's key.
    ///
    /// # Errors
    /// [`AuthorityError::UnknownIssuer`], [`AuthorityError::RootKeyAbsent`], and whatever signing and writing meet. Asking again
    /// finishes what was cut off.
    pub async fn revoke_issuer(
        &self,
        key_id: &str,
        reason: RevocationReason,
    ) -> Result<IssuerRevocation, AuthorityError> {
        let mut work = self.begin().await?;
        let revocation = work.revoke_issuer(key_id, reason).await;
        if let Err(error) = &revocation {
            work.refuse(Act::Revoke, None, error).await;
        }
        revocation
    }
}

impl Work<'_> {
    async fn revoke_issuer(
        &mut self,
        key_id: &str,
        reason: RevocationReason,
    ) -> Result<IssuerRevocation, AuthorityError> {
        let issuers = self.store().await?.issuers().await?;
        let known = issuers.iter().find(|issuer| issuer.kind == IssuerKind::Intermediate && issuer.key_id == key_id);
        let known = known.ok_or_else(|| AuthorityError::UnknownIssuer(key_id.to_owned()))?;
        let root = self.root()?;
        // Before the old one is no longer believed: nothing is signed by an intermediate that is revoked.
        let renewed = self.current()?.key_id() == key_id;
        if renewed {
            self.renew().await?;
        }
        let since = self.now.saturating_sub(GRACE);
        let lives = Filter { alive_at: Some(since), unrevoked: true, ..Filter::default() };
        let signed = self.store().await?.certificates(&lives).await?;
        let signed = signed.iter().filter(|record| record.issuer == key_id).count();
        if known.revoked.is_none() || signed > 0 {
            let audit = [AuditEntry {
                detail: Some(format!("intermediate {key_id} with {signed} certificates: {reason}")),
                ..AuditEntry::new(self.now, Act::Revoke, Outcome::Done)
            }];
            let change = Change::RevokeIssuer { key_id, at: self.now, since, reason };
            self.store().await?.record(change, &audit, &[]).await?;
        }
        let until = self.current()?.not_after();
        self.sign_root_crl(&root, until).await?;
        self.publish(Change::Crls, &[], None).await?;
        let since = known.revoked.map_or(self.now, |(at, _)| at);
        Ok(IssuerRevocation { key_id: key_id.to_owned(), since, certificates: signed, renewed })
    }
}

/// What the revocation of an intermediate did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuerRevocation {
    /// Its key id.
    pub key_id: String,
    /// Since when it is revoked.
    pub since: UnixTime,
    /// How many certificates went with it.
    pub certificates: usize,
    /// Whether it signed until now, and another does from now on.
    pub renewed: bool,
}
