//! The flows, one module each: what the parts promise when they are put together.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value cannot panic")]

mod examples;
mod peers;
mod program;
