//! Why a policy file is refused: everything that is wrong with it at once, each fault with its place and its remedy.

mod fault;

use std::fmt;

use serde::Serialize;

pub use self::fault::{Fault, NeverMatches};
use crate::text::Place;

/// All faults of one policy file, in the order of the file. There is at least one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PolicyErrors(Vec<PolicyError>);

impl PolicyErrors {
    pub(crate) fn new(mut errors: Vec<PolicyError>) -> Self {
        errors.sort_by_key(|error| (error.line, error.column));
        Self(errors)
    }

    /// The faults.
    pub fn iter(&self) -> std::slice::Iter<'_, PolicyError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a PolicyErrors {
    type Item = &'a PolicyError;
    type IntoIter = std::slice::Iter<'a, PolicyError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PolicyErrors {
    /// Writes one fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// One fault, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub fault: Fault,
}

impl PolicyError {
    pub(crate) const fn new(place: Place, fault: Fault) -> Self {
        Self { line: place.line, column: place.column, fault }
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn message(&self) -> String {
        self.fault.to_string()
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.fault.remedy()
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}; {}", self.line, self.column, self.fault, self.remedy())
    }
}

impl std::error::Error for PolicyError {}

impl Serialize for PolicyError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("PolicyError", 4)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("message", &self.message())?;
        fields.serialize_field("remedy", &self.remedy())?;
        fields.end()
    }
}
