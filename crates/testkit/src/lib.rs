//! A CA in memory, a mock clock and two peers in a real handshake, for tests
