//! The whole layer before a service in memory, behind a real handshake.

mod answers;
mod audit;
mod eras;
mod harness;
mod hostile;
mod ownership;
mod persons;
mod streams;
mod tokens;
