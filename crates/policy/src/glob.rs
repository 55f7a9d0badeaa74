//! Globs: `*` stands for any run of characters, `\*` and `\\` for themselves, and nothing else is special.

use std::fmt;

/// A pattern over a whole string, case-sensitive.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Pattern {
    /// No star: the text itself.
    Exact(Box<str>),
    /// At least one star.
    Glob(Glob),
}

/// The literal parts around and between the stars.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Glob {
    prefix: Box<str>,
    middle: Box<[Box<str>]>,
    suffix: Box<str>,
}

/// A backslash before something other than `*` or `\`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct StrayBackslash;

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, StrayBackslash> {
        let mut parts = vec![String::new()];
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            let literal = match c {
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => characters.next().filter(|next| matches!(next, '*' | '\\')).ok_or(StrayBackslash)?,
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        Ok(Self::from_parts(parts))
    }

    fn from_parts(mut parts: Vec<String>) -> Self {
        let suffix = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Self::Exact(suffix.into());
        }
        let mut rest = parts.into_iter();
        let prefix = rest.next().unwrap_or_default();
        let middle = rest.filter(|part| !part.is_empty()).map(String::into_boxed_str).collect();
        Self::Glob(Glob { prefix: prefix.into(), middle, suffix: suffix.into() })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Glob(glob) => glob.matches(text),
        }
    }

    /// Whether it says anything about how a text begins or ends.
    pub(crate) fn begins_or_ends_literally(&self) -> bool {
        match self {
            Self::Exact(_) => true,
            Self::Glob(glob) => !glob.prefix.is_empty() || !glob.suffix.is_empty(),
        }
    }

    /// Whether it matches every text.
    pub(crate) fn is_everything(&self) -> bool {
        !self.begins_or_ends_literally() && matches!(self, Self::Glob(glob) if glob.middle.is_empty())
    }

    /// One text that it matches: `x` stands for each star.
    pub(crate) fn sample(&self) -> String {
        match self {
            Self::Exact(text) => text.to_string(),
            Self::Glob(Glob { prefix, middle, suffix }) => {
                let parts = std::iter::once(prefix).chain(middle).chain([suffix]);
                parts.map(|part| &**part).collect::<Vec<_>>().join("x")
            }
        }
    }

    /// Whether everything that `other` matches is surely matched by this one; `false` may also mean "not known".
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(this), Self::Exact(that)) => this == that,
            (Self::Exact(_), Self::Glob(_)) => false,
            (Self::Glob(this), Self::Exact(that)) => this.matches(that),
            (Self::Glob(this), Self::Glob(that)) => this == that || this.covers(that),
        }
    }
}

impl Glob {
    /// The leftmost place for each part in turn: linear in the number of parts, and never wrong, since a star is greedy
    /// only as far as it must be.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(inner) = text.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_suffix(&*self.suffix)) else {
            return false;
        };
        self.middle.iter().try_fold(inner, |rest, part| Some(rest.split_once(&**part)?.1)).is_some()
    }

    /// Sufficient, not necessary: each of our parts lies within one literal part of the other's, in order.
    fn covers(&self, other: &Self) -> bool {
        let Some(head) = other.prefix.strip_prefix(&*self.prefix) else { return false };
        let Some(tail) = other.suffix.strip_suffix(&*self.suffix) else { return false };
        let mut literals = std::iter::once(head).chain(other.middle.iter().map(|part| &**part)).chain([tail]);
        let mut rest = literals.next().unwrap_or_default();
        self.middle.iter().all(|part| {
            loop {
                if let Some((_, after)) = rest.split_once(&**part) {
                    rest = after;
                    return true;
                }
                match literals.next() {
                    Some(next) => rest = next,
                    None => return false,
                }
            }
        })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn suffix(&self) -> &str {
        &self.suffix
    }
}

impl fmt::Display for Pattern {
    /// Writes it as it is to be written in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(&escape(text)),
            Self::Glob(Glob { prefix, middle, suffix }) => {
                write!(f, "{}*", escape(prefix))?;
                middle.iter().try_for_each(|part| write!(f, "{}*", escape(part)))?;
                f.write_str(&escape(suffix))
            }
        }
    }
}

/// The pattern that matches exactly this text.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('*', "\\*")
}

#[cfg(test)]
mod tests;
