//! MCP calls judged before they run: who calls, what for, and whether the policy permits it.
//!
//! [`AuthorizeLayer`] is the middleware. It takes requests that carry a
//! [`VerifiedPeer`](countermark_mtls::VerifiedPeer), parses the body once and strictly ([`parse`]), verifies the headers
//! of both protocol eras against it, asks the policy, writes an [`AuditLine`] and only then forwards the very bytes that it judged. Answers are filtered on
//! the way back: lists show what the caller may use, and streams end when the right to them does.
//!
//! What it decides, beyond the policy:
//!
//! * Headers never decide. They are verified against the body, in both protocol eras, and a lie is refused.
//! * Sessions belong to the identity that opened them, tasks to the identity and the call that made them, and a client's
//!   response passes only if its id answers a request that was sent on a stream of that identity; where tokens are taken,
//!   to that identity on behalf of the same subject.
//! * A denial reads the same for what is not granted and for what does not exist. A name that a grant covers and that the
//!   server does not have is the server's to answer; its error passes unchanged.
//! * A resource template is listed if a grant covers its text as if it were a URI. A narrower grant hides the template,
//!   and still permits the resources that it grants.
//! * `Mcp-Param-*` headers are checked for their form; whether they mirror the arguments only the server can tell, since
//!   only it has the schema. In the older era they mean nothing and are refused.
//! * A JSON answer that is not a list, and larger than 64 KiB, streams through unread. Everything else is judged whole.
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
mod owner;
mod pending;
mod refusal;
#[cfg(feature = "rmcp")]
pub mod rmcp;
mod sessions;
mod tasks;
mod tokens;
mod version;

pub use audit::{Audit, AuditLine, DecisionId, Outcome, Recording};
pub use authorize::{Authorization, Authorize, AuthorizeLayer, DenyStatus};
pub use caller::Caller;
pub use hosts::{CredentialHosts, HostNames, Hosts};
pub use limits::Limits;
pub use message::{
    Message, Notification, Params, ParseRefusal, Reference, Request, RequestId, Response, Subscriptions, parse,
};
pub use tokens::{TokenRules, Tokens};
pub use version::{Era, ProtocolVersion};

/// An error of a body or a service, of whatever type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
