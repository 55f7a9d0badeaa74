//! Grants as written, compiled to an index that permits or denies
