//! What one peer may make this crate hold or wait for.

use std::time::Duration;

/// Bounds on everything that a client or an upstream can make grow.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "configuration: users build it with `..Default::default()`")]
pub struct Limits {
    /// Bytes of one request body.
    pub body: usize,
    /// Time in which a request body must have arrived.
    pub body_time: Duration,
    /// Nesting of JSON containers in one message.
    pub depth: usize,
    /// Bytes of one server-sent event, and of one JSON list answer: what is held in memory to be judged.
    pub event: usize,
    /// Sessions that one agent may hold open.
    pub sessions_per_agent: usize,
    /// Sessions of all agents.
    pub sessions: usize,
    /// A session without a request for this long is forgotten.
    pub session_idle: Duration,
    /// Tasks remembered for one agent; the oldest is forgotten first.
    pub tasks_per_agent: usize,
    /// Server requests of one agent's streams that wait for the agent's response.
    pub pending_per_agent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            body_time: Duration::from_secs(30),
            depth: 64,
            event: 16 << 20,
            sessions_per_agent: 256,
            sessions: 16_384,
            session_idle: Duration::from_secs(3600),
            tasks_per_agent: 1024,
            pending_per_agent: 1024,
        }
    }
}
