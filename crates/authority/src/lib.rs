//! The CA with its inventory, audit, issuance and revocation.
//!
//! An [`Authority`] is a directory: a root whose key may be taken offline, an intermediate that signs, profiles, the
//! inventory (SQLite) and what others need of it (trust bundle, CRLs). It is opened by those who mint, never by a
//! process that parses strangers' bytes. Whatever is signed stands in the inventory before it is signed.

mod authority;
mod directory;
mod error;
mod issuer;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod warning;

pub use crate::{
    authority::{
        Authority, CRL_LIFE, CrlReport, Issued, KeyProtection, MintRequest, Renewal, Revocation, Status, SubjectKey,
        Target,
    },
    error::AuthorityError,
    issuer::IdentityIssuer,
    record::{Act, AuditRecord, CertificateRecord, Filter, IssuerKind, IssuerRecord, Outcome, State},
    store::{AuditEntry, Change, Reservation, Store, StoreError, StoreFuture},
    warning::Warning,
};
