//! What it costs to read a leaf.
fn main() {}
