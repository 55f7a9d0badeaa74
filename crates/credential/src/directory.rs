//! A credential and its trust material as files, each switched by one rename.
//!
//! ```text
//! DIR/current -> generations/7             credential: one directory a generation, 0700, its files 0600
//! DIR/credential-bundle.pem -> current/…   key, leaf, intermediates; likewise tls.key, tls.crt, ca.crt
//! DIR/<td>.trust-bundle.pem -> trust/current/…
//! DIR/trust/current -> versions/12         trust: <td>.trust-bundle.pem, <td>.crl.pem, and ca.crt, a link to the own bundle
//! ```
//!
//! Whoever reads `credential-bundle.pem`, or resolves `current` once and reads in there, never sees a key beside another's
//! certificate. A generation stays until its certificate has expired. `ca.crt` and the bundles inside a generation are those of
//! its delivery, for readers that resolve `current` once; the stable names lead to the newest trust.

mod access;
mod deliver;
mod disk;
mod error;
mod guard;
mod load;
mod lock;
mod names;
mod newer;
mod partners;
mod switch;
mod trust;
mod writer;

use std::sync::Arc;

pub use self::access::{Access, AccessError};
pub use self::deliver::{Extra, Manner, deliver, deliver_as, sweep};
pub use self::disk::{replace_file, replace_file_as};
pub use self::error::{DeliveryError, LoadError};
pub(crate) use self::load::read_valid;
pub use self::load::{Held, Loaded, current_generation, load, read};
pub use self::lock::Claim;
pub(crate) use self::lock::Lock;
pub use self::names::{
    CREDENTIAL_BUNDLE, CURRENT, TLS_CRT, TLS_KEY, bundle_name, crl_name, is_of_credential, is_of_trust,
};
pub use self::partners::{Partners, salvage_partners};
pub(crate) use self::trust::{Broken, Material, RawFile, Whose, followed, read_material, target_parent};
pub use self::trust::{
    LoadedTrust, deliver_trust, load_own_bundle, load_own_trust, load_partners, load_trust, own_domain, read_crls,
    trust_version,
};
pub use self::writer::Writer;
use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::crl::Crl;

/// What is delivered to a directory: a credential and whom it is to believe.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it, and must say everything that is delivered")]
pub struct Delivery {
    /// The credential; its leaf carries a SPIFFE ID, unless [`Manner::trust_domain`] says by whose roots it is known.
    pub credential: Arc<Credential>,
    /// The trust bundles, that of the credential's own trust domain among them.
    pub bundles: Vec<Bundle>,
    /// The revocation lists of the trust domains, by what they are for.
    pub crls: Vec<DomainCrls>,
}

/// The revocation lists of one trust domain: one for each CA key that signs certificates.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it; it is a pair")]
pub struct DomainCrls {
    /// Whose.
    pub trust_domain: countermark_identity::TrustDomain,
    /// The lists.
    pub crls: Vec<Arc<Crl>>,
}

/// The number of a generation in its directory, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
