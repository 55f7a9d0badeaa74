//! The revocation lists of one trust domain, found by the issuer's name and believed by its key.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use countermark_identity::UnixTime;

use super::error::RevocationError;
use crate::authority::Authority;
use crate::crl::Crl;

/// The lists, by the DER of their issuer.
#[derive(Debug)]
pub(super) struct Lists {
    all: Vec<Arc<Crl>>,
    by_issuer: HashMap<Box<[u8]>, Vec<Arc<Crl>>>,
}

impl Lists {
    pub(super) fn new(all: Vec<Arc<Crl>>) -> Self {
        let mut by_issuer: HashMap<Box<[u8]>, Vec<Arc<Crl>>> = HashMap::new();
        for crl in &all {
            by_issuer.entry(crl.issuer_der().into()).or_default().push(Arc::clone(crl));
        }
        for lists in by_issuer.values_mut() {
            lists.sort_by_key(|crl| std::cmp::Reverse((crl.number(), crl.this_update())));
        }
        Self { all, by_issuer }
    }

    pub(super) fn all(&self) -> &[Arc<Crl>] {
        &self.all
    }

    /// The newest list that the authority's key signed. Two keys with one name are told apart here, by signature.
    fn find(&self, authority: &Authority) -> Result<Arc<Crl>, RevocationError> {
        let named = self.by_issuer.get(authority.subject_der()).ok_or(RevocationError::Missing)?;
        if !authority.signs_crls() {
            return Err(RevocationError::NotCrlSigner);
        }
        named
            .iter()
            .find(|crl| crl.verify(authority.spki_der()).is_ok())
            .map(Arc::clone)
            .ok_or(RevocationError::WrongSignature)
    }
}

/// An authority of a path with the list that its key signed, which is looked for once.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) authority: Arc<Authority>,
    list: OnceLock<Result<Arc<Crl>, RevocationError>>,
}

impl Signer {
    pub(super) const fn new(authority: Arc<Authority>) -> Self {
        Self { authority, list: OnceLock::new() }
    }

    /// Looks for the authority's list now, and says whether there is one.
    pub(super) fn find(&self, lists: &Lists) -> bool {
        self.list.get_or_init(|| lists.find(&self.authority)).is_ok()
    }

    #[cfg(test)]
    pub(super) fn is_warm(&self) -> bool {
        self.list.get().is_some_and(Result::is_ok)
    }

    /// The authority's list, if it is not stale.
    pub(super) fn list(&self, lists: &Lists, now: UnixTime) -> Result<&Crl, RevocationError> {
        let list = self.list.get_or_init(|| lists.find(&self.authority)).as_ref().map_err(Clone::clone)?;
        // RFC 5280 §6.3.3 (a): a list is out of date from its nextUpdate on.
        if now >= list.next_update() {
            return Err(RevocationError::Stale { next_update: list.next_update(), now });
        }
        Ok(list)
    }
}
