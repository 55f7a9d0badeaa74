//! Both sides against an authorization server in memory: real handshakes, real HTTP, nothing of it mocked.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot make its estate should stop there")]

mod bound;
mod faults;
mod opaque;
mod secrets;
mod server;
mod tokens;
mod world;
