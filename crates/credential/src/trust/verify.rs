//! The verification of one chain under the roots of one trust domain.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countermark_identity::{Leaf, Thumbprint, TrustDomain, UnixTime, Usage};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime as PkiTime};
use webpki::{EndEntityCert, KeyUsage};

use super::error::{ChainError, Link, MAX_INTERMEDIATES, TrustError};
use super::judge::{Judge, Presented};
use super::memo::Memo;
use super::revocation::{Lists, Signer};
use super::{DomainTrust, Revocation, signature};
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::crl::Crl;

/// The roots and lists of one trust domain, ready to verify.
#[derive(Debug)]
pub(super) struct Domain {
    bundle: Bundle,
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// One for each anchor, in the same order.
    pub(super) roots: Vec<Arc<Signer>>,
    pub(super) lists: Lists,
    pub(super) revocation: Revocation,
    /// What completes a leaf that comes alone, by the subject's DER.
    beside: Vec<(Box<[u8]>, CertificateDer<'static>)>,
    /// Intermediates that stood in a verified path, by thumbprint: parsed once, their list looked for once.
    known: ArcSwap<HashMap<Thumbprint, Arc<Signer>>>,
}

impl Domain {
    pub(super) fn new(trust: DomainTrust) -> Result<Self, TrustError> {
        let DomainTrust { bundle, crls, revocation } = trust;
        let mut anchors = Vec::with_capacity(bundle.roots().len());
        for root in bundle.roots() {
            let anchor = webpki::anchor_from_trusted_cert(root).map_err(|error| TrustError::Root {
                trust_domain: bundle.trust_domain().clone(),
                detail: error.to_string(),
            })?;
            anchors.push(anchor.to_owned());
        }
        let roots = bundle.authorities().iter().map(|root| Arc::new(Signer::new(Arc::clone(root)))).collect();
        let lists = Lists::new(crls);
        Ok(Self { bundle, anchors, roots, lists, revocation, beside: Vec::new(), known: ArcSwap::default() })
    }

    /// Completes a leaf that comes alone by these. What is no CA of this trust domain could lead nowhere, and is left out.
    pub(super) fn complete_by(&mut self, intermediates: Vec<CertificateDer<'static>>) {
        let named = intermediates.into_iter().filter_map(|der| {
            let authority = Authority::parse(&der, self.bundle.trust_domain()).ok()?;
            Some((authority.subject_der().into(), der))
        });
        self.beside = named.collect();
    }

    pub(super) fn completed_by(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.beside.iter().map(|(_, der)| der)
    }

    /// What stands in for the intermediates of a leaf that came alone: those that have its issuer's name.
    fn issuers_of(&self, leaf: &Leaf) -> Vec<CertificateDer<'_>> {
        let named = self.beside.iter().filter(|(subject, _)| **subject == *leaf.issuer_der());
        named.take(MAX_INTERMEDIATES).map(|(_, der)| CertificateDer::from(der.as_ref())).collect()
    }

    pub(super) fn crls(&self) -> &[Arc<Crl>] {
        self.lists.all()
    }

    pub(super) fn met(&self) -> Vec<Arc<Authority>> {
        self.known.load().values().map(|signer| Arc::clone(&signer.authority)).collect()
    }

    pub(super) const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// How many authorities have their list found and its signature verified.
    #[cfg(test)]
    pub(super) fn warm(&self) -> usize {
        let known = self.known.load();
        self.roots.iter().chain(known.values()).filter(|signer| signer.is_warm()).count()
    }

    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        leaf: &Leaf,
        usage: Usage,
        now: UnixTime,
        memo: &Memo,
    ) -> Result<VerifiedChain, ChainError> {
        let Some((first, intermediates)) = chain.split_first() else {
            return Err(ChainError::Malformed { detail: "it is empty".to_owned() });
        };
        if Thumbprint::of(first) != *leaf.thumbprint() {
            return Err(ChainError::LeafMismatch);
        }
        leaf.permits(usage)?;
        require_time(Link::Leaf, leaf.not_before(), leaf.not_after(), now)?;
        let beside = if intermediates.is_empty() { self.issuers_of(leaf) } else { Vec::new() };
        let intermediates = if intermediates.is_empty() { beside.as_slice() } else { intermediates };
        let presented = self.read(intermediates)?;
        let certificate =
            EndEntityCert::try_from(first).map_err(|error| ChainError::Malformed { detail: error.to_string() })?;
        let judge = Judge { domain: self, leaf, presented: &presented, now, outcome: RefCell::default() };
        let algorithms = signature::remembering(memo);
        let algorithms = algorithms.each_ref().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm);
        let path = certificate.verify_for_usage(
            &algorithms,
            &self.anchors,
            intermediates,
            PkiTime::since_unix_epoch(std::time::Duration::from_secs(now.as_secs())),
            key_usage(usage),
            None,
            Some(&|path| judge.accept(path)),
        );
        let outcome = judge.outcome.into_inner();
        match (path, outcome) {
            (Ok(_), Some(Ok(signers))) => {
                self.remember(&presented, &signers);
                Ok(VerifiedChain::assertion(self.bundle.trust_domain().clone(), leaf, &signers))
            }
            // The path was good and its judge was not asked: never, but never believed either.
            (Ok(_), None) => Err(ChainError::Path { detail: "the path was not judged".to_owned() }),
            (_, Some(Err(error))) => Err(error),
            (Err(error), _) => Err(self.explain(error, leaf, &presented, now)),
        }
    }

    /// Reads what was presented beside the leaf; each must be a CA of this trust domain, used or not.
    fn read(&self, intermediates: &[CertificateDer<'_>]) -> Result<Vec<Presented>, ChainError> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(ChainError::TooManyIntermediates { found: intermediates.len() });
        }
        let known = self.known.load();
        let mut presented = Vec::with_capacity(intermediates.len());
        for (index, der) in intermediates.iter().enumerate() {
            let thumbprint = Thumbprint::of(der);
            let signer = match known.get(&thumbprint) {
                Some(signer) => Arc::clone(signer),
                None => Arc::new(Signer::new(self.parse(der, index + 1)?)),
            };
            presented.push(Presented { thumbprint, signer });
        }
        Ok(presented)
    }

    fn parse(&self, der: &[u8], position: usize) -> Result<Arc<Authority>, ChainError> {
        let trust_domain = self.bundle.trust_domain();
        Authority::parse(der, trust_domain).map(Arc::new).map_err(|error| ChainError::Authority {
            position,
            trust_domain: trust_domain.clone(),
            error,
        })
    }

    /// Keeps the intermediates of a verified path. Only what a root of this or of an earlier trust signed gets here, and no more
    /// than [`MAX_KNOWN`].
    fn remember(&self, presented: &[Presented], path: &[Arc<Signer>]) {
        let known = self.known.load();
        let fresh: Vec<_> = presented
            .iter()
            .filter(|entry| !known.contains_key(&entry.thumbprint))
            .filter(|entry| path.iter().any(|signer| Arc::ptr_eq(signer, &entry.signer)))
            .collect();
        if fresh.is_empty() || known.len() + fresh.len() > MAX_KNOWN {
            return;
        }
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.extend(fresh.iter().map(|entry| (entry.thumbprint, Arc::clone(&entry.signer))));
            known
        });
    }

    /// Takes over intermediates that the trust before had met, each with its list. That it was met is all that is believed of
    /// it: a path through it is verified as any other. One without a list that its key signed is met anew.
    pub(super) fn inherit(&self, before: &Self) {
        let met = before.known.load();
        let mut met: Vec<_> = met.iter().collect();
        // Those that live longest are those that sign now.
        met.sort_unstable_by_key(|(_, signer)| std::cmp::Reverse(signer.authority.not_after()));
        let known = met.into_iter().take(MAX_INHERITED).filter_map(|(thumbprint, signer)| {
            let signer = Signer::new(Arc::clone(&signer.authority));
            let listed = self.revocation == Revocation::DangerNone || signer.find(&self.lists);
            listed.then(|| (*thumbprint, Arc::new(signer)))
        });
        self.known.store(Arc::new(known.collect()));
    }

    /// Puts webpki's refusal into our words.
    fn explain(&self, error: webpki::Error, leaf: &Leaf, presented: &[Presented], now: UnixTime) -> ChainError {
        match error {
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                ChainError::UnknownAuthority {
                    trust_domain: self.bundle.trust_domain().clone(),
                    issuer: issuer_text(leaf.issuer_der()),
                }
            }
            // The leaf's own life was judged before: this is an intermediate's.
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => presented
                .iter()
                .find_map(|entry| entry.signer.require_time(now).err())
                .unwrap_or_else(|| ChainError::Path { detail: error.to_string() }),
            webpki::Error::BadDer | webpki::Error::TrailingData(_) => {
                ChainError::Malformed { detail: error.to_string() }
            }
            other => ChainError::Path { detail: other.to_string() },
        }
    }
}

/// Evidence that a chain was verified; only [`Trust::verify`](super::Trust::verify) makes one.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    trust_domain: TrustDomain,
    authorities: Box<[Arc<Authority>]>,
    not_after: UnixTime,
}

impl VerifiedChain {
    fn assertion(trust_domain: TrustDomain, leaf: &Leaf, signers: &[Arc<Signer>]) -> Self {
        let authorities: Box<[_]> = signers.iter().map(|signer| Arc::clone(&signer.authority)).collect();
        let not_after = authorities.iter().fold(leaf.not_after(), |end, authority| end.min(authority.not_after()));
        Self { trust_domain, authorities, not_after }
    }

    /// Under whose roots.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities of the path, from the leaf's issuer to the root.
    #[must_use]
    pub const fn authorities(&self) -> &[Arc<Authority>] {
        &self.authorities
    }

    /// When the first certificate of the path ends.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Refuses a certificate outside its life. `notAfter` itself still belongs to it (RFC 5280 §4.1.2.5).
pub(super) fn require_time(
    which: Link,
    not_before: UnixTime,
    not_after: UnixTime,
    now: UnixTime,
) -> Result<(), ChainError> {
    if now > not_after {
        return Err(ChainError::Expired { which, not_after, now });
    }
    if now < not_before {
        return Err(ChainError::NotYetValid { which, not_before, now });
    }
    Ok(())
}

const fn key_usage(usage: Usage) -> KeyUsage {
    match usage {
        Usage::Client => KeyUsage::client_auth(),
        Usage::Server => KeyUsage::server_auth(),
    }
}

fn issuer_text(der: &[u8]) -> String {
    use x509_parser::prelude::FromDer as _;
    x509_parser::x509::X509Name::from_der(der)
        .map_or_else(|_| "an unreadable name".to_owned(), |(_, name)| name.to_string().escape_debug().to_string())
}

/// How many intermediates of verified paths are kept for one trust domain.
const MAX_KNOWN: usize = 256;
/// How many of them a new trust takes over: it verifies a signature for each before it is published.
const MAX_INHERITED: usize = 32;
