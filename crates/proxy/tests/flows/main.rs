//! guard and connect as processes use them: real sockets on loopback, real files, real children.
//!
//! - `allow`: what the policy permits and denies, in both eras, over HTTP/1.1 and HTTP/2
//! - `ends`: rights that end under way, and drains
//! - `upstreams`: upstreams that are down, slow, broken, or liars
//! - `stdio`: stdio servers behind guard, in both eras, and their limits
//! - `lists`: revocation lists that are fetched from an authority
//! - `operate`: probes, metrics, audit, bad configuration
//! - `connect`: stdio and loopback clients before guard
//! - `issuers`: which authorization server connect turns to, and what it asks for first
//! - `tokens`: certificate-bound tokens, from an authorization server through connect to guard

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot make its estate should stop there"
)]

mod allow;
mod connect;
mod ends;
mod issuers;
mod lists;
mod operate;
mod resource;
mod stdio;
mod support;
mod tokens;
mod upstreams;
