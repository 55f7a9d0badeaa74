//! New intermediates under the same root.

use countermark_identity::UnixTime;
use countermark_issue::{INTERMEDIATE_LIFE, KeyPair, Signer, to_pem};
use rustls_pki_types::CertificateDer;

use crate::{
    authority::{Authority, init::KeyProtection, is_due, work::Work},
    directory::{PRIVATE, PUBLIC, create_dir, replace, replace_link, sync_dir},
    error::AuthorityError,
    record::{Act, IssuerKind, IssuerRecord, Outcome},
    store::{AuditEntry, Change},
    warning::Warning,
};

impl Authority {
    /// Makes a new intermediate (new key, same root), which signs from now on. The old one's CRL is signed for as long
    /// as certificates of it live. Takes the root's key.
    pub async fn renew_intermediate(&self) -> Result<Renewal, AuthorityError> {
        let mut work = self.begin().await?;
        let renewal = work.renew_and_publish().await;
        if let Err(error) = &renewal {
            work.refuse(Act::Renew, None, error).await;
        }
        renewal
    }
}

impl Work<'_> {
    async fn renew_and_publish(&mut self) -> Result<Renewal, AuthorityError> {
        let renewed = self.renew().await?;
        self.publish(Change::Crls, &[], None).await?;
        Ok(Renewal {
            certificate: renewed.certificate().clone(),
            ends: renewed.not_after(),
            warnings: self.authority.root_warning(self.now),
        })
    }

    /// Renews the intermediate by itself where two thirds of its life are over and the root's key is at hand.
    pub(super) async fn maintain(&mut self) -> Result<Vec<Warning>, AuthorityError> {
        let mut warnings = self.authority.root_warning(self.now);
        let current = self.current()?;
        let ends = current.not_after();
        let successor_ends = self.now.saturating_add(INTERMEDIATE_LIFE).min(self.authority.root.not_after);
        if !is_due(current.not_before(), ends, self.now) || successor_ends <= ends {
            return Ok(warnings);
        }
        match self.renew().await {
            Ok(_) => {}
            Err(AuthorityError::RootKeyAbsent(_)) => warnings.push(Warning::IntermediateEnds(ends)),
            Err(error) => {
                warnings.push(Warning::RenewalFailed { ends, cause: error.to_string() });
            }
        }
        Ok(warnings)
    }

    /// Everything of the new intermediate is durable before the one rename that makes it the signing one.
    pub(super) async fn renew(&mut self) -> Result<Signer, AuthorityError> {
        let root = self.root()?;
        let authority = self.authority;
        let key = KeyPair::generate(root.key().key_type())?;
        let signer = root.intermediate(&authority.domain, key, INTERMEDIATE_LIFE, self.now)?;
        let key_id = signer.key_id();
        authority.directory.write_issuer(&signer, &self.protection())?;
        let audit = AuditEntry {
            serial: Some(signer.serial().to_string()),
            detail: Some(format!("intermediate {key_id}")),
            ..AuditEntry::new(self.now, Act::Renew, Outcome::Done)
        };
        let record = issuer_record(&signer, IssuerKind::Intermediate);
        self.store().await?.add_issuer(&record, &audit).await?;
        self.sign_root_crl(&root, signer.not_after()).await?;
        replace_link(&authority.directory.current_issuer(), key_id.as_ref())?;
        Ok(signer)
    }

    /// A new key is sealed as the others are.
    fn protection(&self) -> KeyProtection {
        match self.authority.passphrase() {
            Some(passphrase) => KeyProtection::Passphrase(passphrase.to_vec().into()),
            None => KeyProtection::Plaintext,
        }
    }
}

impl crate::directory::Directory {
    /// Writes an intermediate's key and certificate into a directory of their own.
    pub(super) fn write_issuer(&self, signer: &Signer, protection: &KeyProtection) -> Result<(), AuthorityError> {
        let directory = self.issuer(&signer.key_id());
        create_dir(&directory, 0o700)?;
        let key = protection.pem(signer.key())?;
        replace(&directory.join("intermediate.key"), key.as_bytes(), PRIVATE)?;
        let certificate = to_pem("CERTIFICATE", signer.certificate());
        replace(&directory.join("intermediate.crt"), certificate.as_bytes(), PUBLIC)?;
        sync_dir(&self.issuers())
    }
}

/// A CA key for the inventory.
pub(super) fn issuer_record(signer: &Signer, kind: IssuerKind) -> IssuerRecord {
    IssuerRecord {
        key_id: signer.key_id(),
        kind,
        certificate: signer.certificate().to_vec(),
        not_before: signer.not_before(),
        not_after: signer.not_after(),
        crl: None,
        revoked: None,
    }
}

/// A new intermediate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// When it ends.
    pub ends: UnixTime,
    /// What will need a hand.
    pub warnings: Vec<Warning>,
}
