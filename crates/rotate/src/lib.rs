//! Keeps any number of credentials fresh, delivers them, and proves that their consumers serve the new one.
//!
//! [`schedule`] says when, and [`machine`] what next: both are pure. [`run`] is the one task that drives many credentials through
//! them: it asks an [`issuer`], judges the answer with the verifier that everybody uses, delivers it by one rename, runs hooks and
//! looks at what the consumer serves. Whatever happens is an [`event`], which is log, metrics and the surface of tests at once.
//!
//! Nothing here opens a CA: a local authority's directory is an issuer that the command line puts in front.

pub mod admin;
mod approval;
mod chain;
pub mod config;
pub mod ctl;
pub mod enrol;
pub mod event;
mod hook;
pub mod issuer;
pub mod machine;
mod mark;
pub mod metrics;
pub mod name;
pub mod pkcs7;
mod probe;
mod renew;
pub mod request;
pub mod run;
pub mod schedule;
mod sink;
pub mod state;
pub mod status;

pub use self::config::Config;
pub use self::event::{Event, Told};
pub use self::name::Name;
pub use self::run::{Handle, Observe, Rotation, Setup, StartError};
pub use self::status::{CredentialStatus, Status};
