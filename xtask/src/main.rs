//! The repeated tasks.
fn main() {}
