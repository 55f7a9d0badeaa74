//! Both sides against an authorization server in memory: real handshakes, real HTTP, nothing of it mocked.

mod bound;
mod faults;
mod secrets;
mod server;
mod tokens;
mod world;
