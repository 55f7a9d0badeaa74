//! A profile and a CSR become a certificate: keys, profiles, local signing, CRLs and lint.
//!
//! Nothing here does I/O or reads a clock. A certificate is *planned* ([`Signer::plan`]) before it is *signed*
//! ([`Signer::sign`]), so that an authority can write down what it is about to sign; whatever is signed is
//! judged by [`lint`](crate::lint::lint_leaf) before it is handed out.

mod ca;
mod crl;
mod csr;
mod der;
mod key;
pub mod lint;
mod pem;
mod profile;
mod public_key;
mod seal;
mod signature;
mod signer;
mod subject;
#[cfg(test)]
mod testing;
mod time;
#[cfg(test)]
mod vectors;

pub use crate::{
    ca::{BACKDATE, CaError, CaFacts, INTERMEDIATE_LIFE, LEAF_SHARE, ROOT_LIFE, ca_facts},
    crl::{CrlError, CrlPlan, RevocationReason, Revoked},
    csr::{Csr, CsrError},
    key::{KeyError, KeyPair, KeyType},
    lint::LintError,
    pem::to_pem,
    profile::{Profile, ProfileError, RequestableName, SanTemplate},
    public_key::{PublicKey, PublicKeyError},
    seal::{PBKDF2_ROUNDS, SealError, open_key, seal_key, unsealed_pem},
    signature::SignatureError,
    signer::{LeafPlan, LeafRequest, SignError, Signer},
    subject::{MAX_ATTRIBUTE, SubjectError},
};
