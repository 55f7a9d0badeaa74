//! MCP calls judged before they run: who calls, what for, and whether the policy permits it.
//!
//! [`AuthorizeLayer`] is the middleware. It takes requests that carry a
//! [`VerifiedPeer`](countermark_mtls::VerifiedPeer), parses the body once and strictly ([`parse`]), verifies the headers
//! of both protocol eras against it, asks the policy, writes an [`AuditLine`] and only then forwards the very bytes that it judged. Answers are filtered on
//! the way back: lists show what the caller may use, and streams end when the right to them does.
//!
//! A handler behind the layer learns who calls from the request's extensions: [`Caller::of`].

mod audit;
mod authorize;
mod caller;
mod filter;
mod headers;
mod hosts;
mod json;
mod limits;
mod message;
mod method;
mod pending;
mod refusal;
#[cfg(feature = "rmcp")]
pub mod rmcp;
mod sessions;
mod tasks;
mod version;

pub use audit::{Audit, AuditLine, DecisionId, Outcome};
pub use authorize::{Authorization, Authorize, AuthorizeLayer, DenyStatus};
pub use caller::Caller;
pub use hosts::{CredentialHosts, HostNames, Hosts};
pub use limits::Limits;
pub use message::{
    Message, Notification, Params, ParseRefusal, Reference, Request, RequestId, Response, Subscriptions, parse,
};
pub use version::{Era, ProtocolVersion};

/// An error of a body or a service, of whatever type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
