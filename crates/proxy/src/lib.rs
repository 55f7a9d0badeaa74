//! `guard` before any MCP server, `connect` behind any MCP client.
//!
//! [`Guard`] terminates mTLS, lets through what the policy grants and forwards it to an HTTP or a stdio server.
//! [`Connect`] carries the MCP client of this machine, over stdio or loopback HTTP, to such a guard with a live identity directory.
//! Both take plain data ([`GuardConfig`], [`ConnectConfig`]) and read neither the environment nor the command line.

mod answer;
mod body;
pub mod connect;
mod crl;
pub mod guard;
mod identity;
mod json;
mod lines;
mod sse;
mod upstream;

pub use connect::{Connect, ConnectConfig, ConnectError};
pub use crl::{CrlSource, CrlSourceError};
pub use guard::{Guard, GuardConfig, GuardError};
