//! Names: SPIFFE IDs, trust domains, agents, and the one identity that a certificate yields.
//!
//! A certificate goes in as DER and comes out as a [`Leaf`], or as a [`LeafError`] that says why not. A leaf makes one
//! [`Claim`] ([`Leaf::claim`]): who it says it is, and under whose roots that must now be verified. Nothing here reads a
//! file, a socket or a clock (time is a [`Clock`] that the caller hands in), and nothing here trusts: a claim is only a claim.
//!
//! ```
//! use countermark_identity::{Identity, SpiffeId};
//!
//! let id: SpiffeId = "spiffe://agents.internal/agent/billing-bot".parse()?;
//! assert_eq!(Identity::try_from(id).map(|who| who.to_string()), Ok("agent billing-bot".into()));
//! assert!("spiffe://agents.internal/agent/../server/ledger".parse::<SpiffeId>().is_err());
//! # Ok::<(), countermark_identity::SpiffeIdError>(())
//! ```

mod id;
mod leaf;
mod map;
mod san;
mod secret;
mod serial;
mod spiffe;
mod thumbprint;
mod time;

pub use id::{AdminId, AgentId, Identity, NameError, Role, ServerId, UnknownRole, WrongRole};
pub use leaf::{Leaf, LeafError, Usage};
pub use map::{Claim, IdentityError, MapEntry, MapError, SanMap};
pub use san::{San, SanError};
pub use secret::Secret;
pub use serial::{Serial, SerialError};
pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain, TrustDomainError};
pub use thumbprint::{Thumbprint, ThumbprintError};
pub use time::{Clock, SystemClock, UnixTime};
