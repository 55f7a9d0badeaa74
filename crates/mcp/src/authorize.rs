//! The tower middleware that lets a call through only if its caller may make it.

mod answer;
mod body;
mod case;
mod config;
mod forward;
mod gate;
mod intake;
mod json;
mod layer;
mod respond;
mod stream;
mod verdict;

#[cfg(test)]
mod tests;

pub use config::{Authorization, DenyStatus};
pub use layer::{Authorize, AuthorizeLayer};
