//! What is judged about a path that webpki finds good: the root's life, and revocation.

use std::cell::RefCell;
use std::sync::Arc;

use countermark_identity::{Leaf, Serial, Thumbprint, UnixTime};
use webpki::VerifiedPath;

use super::Revocation;
use super::error::{ChainError, Link, MAX_INTERMEDIATES};
use super::revocation::Signer;
use super::verify::{Domain, require_time};

/// An intermediate as it was presented.
pub(super) struct Presented {
    pub(super) thumbprint: Thumbprint,
    pub(super) signer: Arc<Signer>,
}

/// Judges each path that webpki finds good for what webpki does not look at: the root's life and revocation.
pub(super) struct Judge<'a> {
    pub(super) domain: &'a Domain,
    pub(super) leaf: &'a Leaf,
    pub(super) presented: &'a [Presented],
    pub(super) now: UnixTime,
    pub(super) outcome: RefCell<Option<Result<Vec<Arc<Signer>>, ChainError>>>,
}

impl Judge<'_> {
    /// Refusing here makes webpki try another path, if there is one.
    pub(super) fn accept(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        let outcome = self.judge(path);
        let answer = if outcome.is_ok() { Ok(()) } else { Err(webpki::Error::UnknownIssuer) };
        self.outcome.replace(Some(outcome));
        answer
    }

    /// The authorities of the path, from the leaf's issuer to the root, if none of them ended and nothing they signed here is revoked.
    fn judge(&self, path: &VerifiedPath<'_>) -> Result<Vec<Arc<Signer>>, ChainError> {
        let signers = self.signers(path)?;
        let mut subject = (None, self.leaf.serial());
        for signer in &signers {
            signer.require_time(self.now)?;
            if self.domain.revocation == Revocation::Required {
                self.require_unrevoked(subject, signer)?;
            }
            subject = (Some(signer), signer.authority.serial());
        }
        Ok(signers)
    }

    /// Refuses what `signer` has revoked: the leaf, or the authority that stands before it in the path.
    fn require_unrevoked(
        &self,
        (authority, serial): (Option<&Arc<Signer>>, &Serial),
        signer: &Signer,
    ) -> Result<(), ChainError> {
        let list = signer.list(&self.domain.lists, self.now).map_err(|error| ChainError::RevocationUnknown {
            authority: signer.authority.subject().to_owned(),
            error,
        })?;
        let Some(revoked) = list.revokes(serial) else { return Ok(()) };
        let which = authority.map_or(Link::Leaf, |signer| signer.link());
        Err(ChainError::Revoked { which, serial: serial.clone(), at: revoked.at, reason: revoked.reason })
    }

    fn signers(&self, path: &VerifiedPath<'_>) -> Result<Vec<Arc<Signer>>, ChainError> {
        let lost = || ChainError::Path { detail: "the path has a certificate that was not presented".to_owned() };
        let mut signers = Vec::with_capacity(MAX_INTERMEDIATES + 1);
        for certificate in path.intermediate_certificates() {
            let thumbprint = Thumbprint::of(&certificate.der());
            let presented = self.presented.iter().find(|entry| entry.thumbprint == thumbprint).ok_or_else(lost)?;
            signers.push(Arc::clone(&presented.signer));
        }
        let place =
            self.domain.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor())).ok_or_else(lost)?;
        signers.push(Arc::clone(self.domain.roots.get(place).ok_or_else(lost)?));
        Ok(signers)
    }
}

impl Signer {
    fn link(&self) -> Link {
        Link::Authority(self.authority.subject().to_owned())
    }

    pub(super) fn require_time(&self, now: UnixTime) -> Result<(), ChainError> {
        let authority = &self.authority;
        if (authority.not_before()..=authority.not_after()).contains(&now) {
            return Ok(());
        }
        require_time(self.link(), authority.not_before(), authority.not_after(), now)
    }
}
