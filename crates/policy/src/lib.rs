//! Grants as written, compiled to an index that permits or denies.
//!
//! A policy file is parsed whole ([`Policy::parse`]) or refused whole ([`PolicyErrors`], each with line, column, cause and
//! remedy). A parsed [`Policy`] decides ([`Policy::authorize`]) by default deny: an agent may call what a grant lists,
//! unless a deny takes it away. The decision is a [`Permit`] or a [`Denied`], never a `bool`. Nothing here sees X.509 or
//! HTTP, reads a file, or knows the time.

mod action;
mod decision;
mod document;
mod error;
mod explain;
mod glob;
mod index;
mod patterns;
mod policy;
mod resource;
mod suggest;
#[cfg(test)]
mod testing;
mod text;
mod warning;

pub use action::{Action, Kind};
pub use decision::{Denied, Effect, Permit, RuleId};
pub use error::{Fault, NeverMatches, PolicyError, PolicyErrors};
pub use explain::{Because, Explanation};
pub use policy::{Policy, RevocationMode};
pub use resource::UnsafeResource;
pub use suggest::{Observed, suggest};
pub use warning::{Finding, Warning};
