//! Lint: every certificate and CRL is judged before it is handed out.
//!
//! The rules are those of the X509-SVID specification and of this project's profile. The judge reads the bytes that
//! were made and nothing that went into them, so that a mistake of profile, library or code is caught here.

mod authority;
mod crl;
mod error;
mod facts;
mod leaf;

pub(crate) use self::{authority::is_ca, facts::validity};
pub use self::{
    authority::lint_ca,
    crl::lint_crl,
    error::LintError,
    leaf::{Expected, lint_leaf},
};

#[cfg(test)]
mod tests;
