//! The id of a JSON-RPC request.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use crate::json::{self, Kind};

/// An id as MCP allows it: a string or an integer; never null, never a fraction.
///
/// Strings beyond 512 bytes are refused. Integers beyond 2⁵³ are refused, since a server that reads them as doubles would answer another id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "MCP knows no third type of id")]
pub enum RequestId<'a> {
    /// An integer.
    Number(i64),
    /// A string, decoded.
    String(Cow<'a, str>),
}

/// The largest integer that every JSON parser keeps exact.
const MAX_SAFE: i64 = (1 << 53) - 1;

/// The longest text of a string id, quotes included: ids are remembered, so their size is bounded.
const LONGEST: usize = 512;

impl<'a> RequestId<'a> {
    pub(crate) fn read(kind: Kind, raw: &'a str) -> Option<Self> {
        match kind {
            Kind::String if raw.len() <= LONGEST => Some(Self::String(json::unescape(raw))),
            Kind::Number => {
                let number = raw.parse().ok()?;
                (-MAX_SAFE..=MAX_SAFE).contains(&number).then_some(Self::Number(number))
            }
            _ => None,
        }
    }

    /// The same id, owning its text.
    #[must_use]
    pub fn into_owned(self) -> RequestId<'static> {
        match self {
            Self::Number(number) => RequestId::Number(number),
            Self::String(text) => RequestId::String(Cow::Owned(text.into_owned())),
        }
    }
}

/// As JSON.
impl Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::String(text) => serde_json::Value::from(text.as_ref()).fmt(f),
        }
    }
}
