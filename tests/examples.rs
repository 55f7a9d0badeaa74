//! The examples run, and talk to each other.
