//! The one judgement of a chain, used in the handshake, after a resumption and at every change.

use std::sync::Arc;

use countermark_identity::{Identity, Leaf, UnixTime};
use rustls_pki_types::CertificateDer;

use crate::demand::Demand;
use crate::{Refusal, TrustGeneration};

/// What the other side presented and what it proved with it.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) identity: Identity,
    /// When the first certificate of the path ends.
    pub(crate) not_after: UnixTime,
    pub(crate) leaf: Leaf,
    /// Leaf first, as it was presented.
    pub(crate) chain: Box<[CertificateDer<'static>]>,
    pub(crate) generation: Arc<TrustGeneration>,
}

impl Evidence {
    /// Parses the leaf and judges the chain.
    pub(crate) fn verify(
        chain: Box<[CertificateDer<'static>]>,
        demand: &Demand,
        generation: &Arc<TrustGeneration>,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let leaf = Leaf::parse(chain.first().map_or(&[][..], |leaf| leaf.as_ref()))?;
        let (identity, not_after) = judge(&leaf, &chain, demand, generation, now)?;
        Ok(Self { identity, not_after, leaf, chain, generation: Arc::clone(generation) })
    }
}

/// Who the chain stands for under this generation at this time, and when that ends.
pub(crate) fn judge(
    leaf: &Leaf,
    chain: &[CertificateDer<'static>],
    demand: &Demand,
    generation: &TrustGeneration,
    now: UnixTime,
) -> Result<(Identity, UnixTime), Refusal> {
    leaf.permits(demand.usage())?;
    let claim = leaf.claim(generation.map())?;
    // A claim is believed under the roots of its own trust domain and no other.
    let verified = generation.trust().verify(chain, leaf, &claim.trust_domain, demand.usage(), now)?;
    demand.admit(&claim.identity, leaf)?;
    Ok((claim.identity, verified.not_after()))
}
