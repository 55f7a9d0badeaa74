//! An rmcp server and client for the tests.
fn main() {}
