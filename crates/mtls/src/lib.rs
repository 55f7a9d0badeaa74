//! Mutual TLS in which a right that ends, ends now.
//!
//! An [`Acceptor`] and a [`Client`] take a credential and a trust generation as things that change.
//! A finished handshake yields a [`VerifiedPeer`] or [`VerifiedServer`], which nothing else can
//! make. Every live connection is judged again when newer bundles, CRLs or a newer SAN map land and
//! when its certificate expires: what is refused is closed within a second, with its open streams.
//!
//! - An identity verifies under the roots of its own trust domain and no other.
//! - The role comes from the identity's path: callers are `/agent/…`, servers are `/server/…`.
//! - TLS 1.3, X25519MLKEM768 first, no 0-RTT. A change of credential or trust forces full
//!   handshakes; a resumed session is judged again before its first request; clients never resume.
//! - The peer sees an alert; the precise reason is in [`HandshakeError`].

mod acceptor;
#[cfg(feature = "axum")]
mod axum;
mod client;
mod config;
mod demand;
mod evidence;
mod generation;
mod live;
mod peer;
mod provider;
mod refusal;
mod registry;
mod server;
mod stream;
mod trace;
mod verifier;

pub use acceptor::{Acceptor, AcceptorConfig, MtlsStream};
#[cfg(feature = "axum")]
pub use axum::{MtlsListener, PeerLayer, PeerService};
pub use client::{
    AnonymousClient, Client, ClientBody, ClientConfig, ClientError, HostClient, HostClientError, LongPoll,
    LongPollError, ServerStream, danger_fetch_unverified, danger_served_certificate,
};
pub use demand::{Anyone, Caller, ExpectedServer};
pub use generation::{TrustGeneration, TrustGenerations};
pub use peer::{Anonymous, Presence, VerifiedPeer, VerifiedServer, Visitor};
pub use provider::provider;
pub use refusal::{HandshakeError, PeerEnded, Refusal, UnusableCredential};
pub use registry::Registry;
pub use server::{BoxError, Observe, ServeConfig, serve};
