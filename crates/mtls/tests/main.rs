//! Mutual TLS as peers meet it, each module one promise.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod anonymous; // clients that have no certificate yet
mod anyone; // where a certificate is optional
mod client; // pool, rotation, the server revoked, wrong servers
mod federation; // one root store for each trust domain
mod handshake; // versions, alerts, resumption
mod host; // servers that have no SPIFFE ID
mod limits; // slow and silent peers, drain
mod live; // rights that end on kept connections and open streams
mod refusals; // callers that must not get in, each with its reason and its alert
mod support;
#[cfg(feature = "axum")]
mod with_axum; // the same promises behind axum::serve
