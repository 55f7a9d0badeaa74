//! Answers on their way back: lists show what the caller may use, and nothing that was not asked for passes.

mod message;
mod rewrite;
pub(crate) mod sse;

#[cfg(test)]
mod tests;

pub(crate) use message::{Outcome, ServerMessage, read};
pub(crate) use rewrite::rewrite;
