//! Grants as written, compiled to an index that permits or denies.
//!
//! A policy file is parsed whole ([`Policy::parse`]) or refused whole ([`PolicyErrors`], each with line, column, cause and
//! remedy). A parsed [`Policy`] decides ([`Policy::authorize`]) by default deny: an agent may call what a grant lists,
//! unless a deny takes it away. The decision is a [`Permit`] or a [`Denied`], never a `bool`. Nothing here sees X.509 or
//! HTTP, reads a file, or knows the time.
//!
//! ```
//! use countermark_identity::{AgentId, ServerId, TrustDomain};
//! use countermark_policy::{Action, Denied, Policy};
//!
//! let policy = Policy::parse(r#"
//!     version = 1
//!     trust_domain = "agents.internal"
//!
//!     [[grant]]
//!     who = ["billing-*"]
//!     servers = ["ledger"]
//!     tools = ["read_*", "post_entry"]
//! "#)?;
//! let own: TrustDomain = "agents.internal".parse()?;
//! let (bot, ledger) = (AgentId::new(&own, "billing-bot")?, ServerId::new(&own, "ledger")?);
//!
//! let permit = policy.authorize(&bot, &ledger, Action::Tool("post_entry"))?;
//! assert_eq!(permit.rule().to_string(), "grant 1 (line 5)");
//! assert_eq!(policy.authorize(&bot, &ledger, Action::Tool("drop_ledger")), Err(Denied::NoGrant));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A decision looks only at the rules that speak of this agent and this server, whatever else the file says: it costs the
//! same with ten agents and with a hundred thousand (`cargo bench -p countermark-policy`).

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
mod rights;
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
pub use rights::Rights;
pub use suggest::{Observed, suggest};
pub use warning::{Finding, Warning};
