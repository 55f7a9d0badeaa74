//! The chain of a certificate that an issuer answered: leaf first, and without a root.
//!
//! Nothing is believed here. Which certificates stand in a chain is found by names and signatures; whether it is a good one is
//! judged by the verifier that everybody uses.

use countermark_credential::{Bundle, Credential, SignatureError, verify_certificate};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::pkcs7::AnswerError;

/// What is known of an issuer before it answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    roots: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    /// Whether the credential that is there is a leaf alone that no root signed.
    pub(crate) lone: bool,
}

/// A chain, and whether it leads to a root that is known.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) leads: bool,
}

/// One that may stand in a chain.
struct Candidate<'a> {
    der: &'a CertificateDer<'static>,
    certificate: X509Certificate<'a>,
}

impl Known {
    /// The roots of a bundle, and what stands between them and the credential that is there.
    pub(crate) fn new(bundle: &Bundle, credential: Option<&Credential>) -> Self {
        let intermediates = credential.map_or(&[][..], |held| held.chain().get(1..).unwrap_or_default());
        let mut known = Self { roots: bundle.roots().to_vec(), intermediates: intermediates.to_vec(), lone: false };
        known.lone = credential.is_some_and(|held| match held.chain() {
            [leaf] => {
                known.chain(std::slice::from_ref(leaf), &[], held.leaf().spki_der()).is_ok_and(|chain| !chain.leads)
            }
            _ => false,
        });
        known
    }

    /// The chain of the certificate over `spki` among those that were `answered`, in whatever order they came. Those `beside` them
    /// take part where they can be read.
    ///
    /// # Errors
    /// [`AnswerError::NotOurs`] when none that was answered is over that key.
    pub(crate) fn chain(
        &self,
        answered: &[CertificateDer<'static>],
        beside: &[CertificateDer<'static>],
        spki: &[u8],
    ) -> Result<Chain, AnswerError> {
        let mut candidates = Vec::with_capacity(answered.len());
        for der in answered {
            candidates.push(Candidate::read(der).ok_or(AnswerError::Certificate)?);
        }
        let leaf = candidates.iter().position(|candidate| candidate.certificate.public_key().raw == spki);
        let leaf = candidates.swap_remove(leaf.ok_or(AnswerError::NotOurs)?);
        candidates.extend(beside.iter().chain(&self.intermediates).filter_map(Candidate::read));
        // Only what signs itself is where a chain ends: a bundle may hold intermediates, which others do not take for roots.
        let roots: Vec<_> = self.roots.iter().filter_map(Candidate::read).filter(Candidate::names_itself).collect();
        let (mut chain, mut leads) = (vec![&leaf], false);
        while let Some(last) = chain.last().copied() {
            leads = roots.iter().any(|root| root.signed(last));
            if leads || chain.len() > MOST_ABOVE {
                break;
            }
            let Some(next) = above(&chain, last, &candidates, &roots) else { break };
            chain.push(next);
        }
        Ok(Chain { certificates: chain.into_iter().map(|candidate| candidate.der.clone()).collect(), leads })
    }
}

/// Whose key signed `last`, of those that are in no circle: one that a root signed before others, then the one that lives longest.
fn above<'a, 'b>(
    chain: &[&Candidate<'_>],
    last: &Candidate<'_>,
    candidates: &'b [Candidate<'a>],
    roots: &[Candidate<'_>],
) -> Option<&'b Candidate<'a>> {
    let rooted = |candidate: &Candidate<'_>| roots.iter().any(|root| root.signed(candidate));
    let twin = |candidate: &Candidate<'_>| {
        let mut roots = candidates.iter().filter(|other| other.names_itself());
        roots.any(|root| root.is_twin(candidate))
    };
    candidates
        .iter()
        .filter(|candidate| !candidate.names_itself() && candidate.signed(last))
        .filter(|candidate| !chain.iter().any(|taken| taken.is_twin(candidate)))
        // A root that another root signed as well: above it, the chain of that other one begins.
        .filter(|candidate| !twin(candidate) || rooted(candidate))
        .max_by_key(|candidate| (rooted(candidate), candidate.certificate.validity().not_after.timestamp()))
}

impl<'a> Candidate<'a> {
    fn read(der: &'a CertificateDer<'static>) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then_some(Self { der, certificate })
    }

    fn names_itself(&self) -> bool {
        self.certificate.subject().as_raw() == self.certificate.issuer().as_raw()
    }

    /// Whether both are certificates of one authority: the same name and the same key.
    fn is_twin(&self, other: &Candidate<'_>) -> bool {
        self.certificate.subject().as_raw() == other.certificate.subject().as_raw()
            && self.certificate.public_key().raw == other.certificate.public_key().raw
    }

    /// Whether it has the name of the other's issuer, and its key made the signature. Of a kind of signature that is not known here, the
    /// identifiers of the keys say so, and the verifier says the rest.
    fn signed(&self, other: &Candidate<'_>) -> bool {
        if self.certificate.subject().as_raw() != other.certificate.issuer().as_raw() {
            return false;
        }
        match verify_certificate(other.der, self.certificate.public_key().raw) {
            Ok(()) => true,
            Err(SignatureError::Unsupported) => self.key_id().is_some_and(|id| other.issuer_key_id() == Some(id)),
            Err(_) => false,
        }
    }

    fn key_id(&self) -> Option<&[u8]> {
        self.certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
    }

    fn issuer_key_id(&self) -> Option<&[u8]> {
        self.certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
            _ => None,
        })
    }
}

/// How many certificates stand above a leaf at most: the verifier looks at no more.
const MOST_ABOVE: usize = 6;

#[cfg(test)]
mod tests;
