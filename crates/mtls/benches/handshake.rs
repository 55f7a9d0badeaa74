//! Handshakes.
fn main() {}
