//! What the middleware is told.

use std::sync::Arc;

use countermark_identity::{Clock, ServerId};
use countermark_policy::Policy;
use http::StatusCode;
use tokio::sync::watch;

use crate::{Audit, Hosts, Limits, Tokens};

/// Whom to let through to which server, and where to write it down. Nothing here has a permissive default.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it; `new` gives the safe defaults")]
pub struct Authorization {
    /// The server that stands behind.
    pub server: ServerId,
    /// The policy, whichever is current.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Where decisions are written.
    pub audit: Arc<dyn Audit>,
    /// The names that requests may be addressed to.
    pub hosts: Arc<dyn Hosts>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The one path that is served; `None` leaves paths to the router around the layer.
    pub path: Option<String>,
    /// The `Origin` values that pass. An absent `Origin` always passes.
    pub origins: Vec<String>,
    /// The HTTP status of a denial.
    pub deny_status: DenyStatus,
    /// Lets calls that lack a grant pass and records them as `would_deny`. Relaxes nothing else.
    pub danger_observe: bool,
    /// What is wanted of access tokens.
    pub tokens: Tokens,
    /// Sizes and times.
    pub limits: Limits,
}

impl Authorization {
    /// The safe defaults for everything that has one.
    #[must_use]
    pub fn new(
        server: ServerId,
        policy: watch::Receiver<Arc<Policy>>,
        audit: Arc<dyn Audit>,
        hosts: Arc<dyn Hosts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            server,
            policy,
            audit,
            hosts,
            clock,
            path: None,
            origins: Vec::new(),
            deny_status: DenyStatus::default(),
            danger_observe: false,
            tokens: Tokens::default(),
            limits: Limits::default(),
        }
    }
}

/// The HTTP status of a denial; its body is the same JSON-RPC error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two that clients understand")]
pub enum DenyStatus {
    /// 200, what every SDK hands to its caller intact.
    #[default]
    Ok,
    /// 403, for estates that count statuses.
    Forbidden,
}

impl From<DenyStatus> for StatusCode {
    fn from(status: DenyStatus) -> Self {
        match status {
            DenyStatus::Ok => Self::OK,
            DenyStatus::Forbidden => Self::FORBIDDEN,
        }
    }
}
