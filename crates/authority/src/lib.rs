//! The CA with its inventory, audit, issuance and revocation.
//!
//! An [`Authority`] is a directory: a root whose key may be taken offline, an intermediate that signs, profiles, the
//! inventory (SQLite) and what others need of it (trust bundle, CRLs). It is opened by those who mint, never by a
//! process that parses strangers' bytes. Whatever is signed stands in the inventory before it is signed.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! use std::sync::Arc;
//!
//! use countermark_authority::{Authority, KeyProtection, MintRequest, SubjectKey, Target};
//! use countermark_identity::SystemClock;
//! use countermark_issue::{KeyPair, KeyType, RevocationReason};
//!
//! let domain = "agents.internal".parse()?;
//! let authority = Authority::init(&directory, &domain, KeyProtection::Plaintext, Arc::new(SystemClock)).await?;
//! let key = KeyPair::generate(KeyType::P256)?;
//! let request = MintRequest {
//!     identity: "spiffe://agents.internal/agent/billing-bot".parse()?,
//!     subject_key: SubjectKey::Public(key.public_key().clone()),
//!     ttl: None,
//!     dns: Vec::new(),
//!     ip: Vec::new(),
//! };
//! let issued = authority.mint(&request).await?;
//! assert_eq!(issued.chain.len(), 2);
//! authority.revoke(&Target::Serial(issued.serial.clone()), RevocationReason::KeyCompromise).await?;
//! assert!(authority.crls()?.iter().any(|crl| crl.revokes(&issued.serial).is_some()));
//! # Ok(())
//! # }
//! ```

mod authority;
mod directory;
mod error;
mod issuer;
mod record;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod warning;

pub use crate::{
    authority::{
        Authority, CRL_LIFE, CrlReport, Issued, IssuerRevocation, KeyProtection, MintRequest, Renewal, Revocation,
        Status, SubjectKey, Target,
    },
    error::AuthorityError,
    issuer::IdentityIssuer,
    record::{Act, AuditRecord, CertificateRecord, CertificateRow, Filter, IssuerKind, IssuerRecord, Outcome, State},
    service::{
        CRL_LIFE_SERVED, Enrolment, EnrolmentError, Invite, InviteRequest, Places, RateLimits, Service, ServiceConfig,
        ServiceError, TokenError,
    },
    store::{
        AuditEntry, Change, InviteRecord, Reservation, Store, StoreError, StoreFuture, StoredLeaf, Write, Written,
    },
    warning::Warning,
};
