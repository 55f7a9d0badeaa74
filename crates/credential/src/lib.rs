//! Key, chain, trust bundle and CRL: what a process presents and whom it believes.
//!
//! [`Credential`] is a key that provably belongs to its chain. [`Trust`] holds the roots ([`Bundle`]) and revocation lists ([`Crl`])
//! of each trust domain apart, and its [`verify`](Trust::verify) is the one place where a chain becomes a [`VerifiedChain`].
//! [`directory`] delivers and loads both as files that are switched by one rename; [`watch`] follows those files and publishes
//! what changed through [`Source`] and [`TrustSource`].

mod authority;
mod bundle;
mod credential;
mod crl;
mod der;
pub mod directory;
mod key;
mod pem;
mod source;
#[cfg(test)]
mod testing;
mod trust;
pub mod watch;

pub use self::authority::{Authority, AuthorityError};
pub use self::bundle::{Bundle, BundleError};
pub use self::credential::{Credential, CredentialError};
pub use self::crl::{Crl, CrlError, CrlNumber, CrlNumberError, RevocationReason, Revoked};
pub use self::pem::PemError;
pub use self::source::{Issuer, IssuerError, Issuing, Source, TrustSource};
pub use self::trust::{
    ChainError, DomainTrust, Link, Revocation, RevocationError, SignatureError, Trust, TrustError, VerifiedChain,
    verify_certificate,
};
