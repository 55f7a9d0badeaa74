//! Typed access to TOML values; whatever is wrong is noted with its place, and reading goes on.

use std::ops::Range;

use countermark_identity::TrustDomain;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::text::{Lines, Place, nearest};
use crate::{Fault, PolicyError};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A text with where it stands.
pub(super) type Text<'a> = (&'a str, Range<usize>);

pub(super) struct Reader<'t> {
    lines: Lines<'t>,
    errors: Vec<PolicyError>,
}

impl<'t> Reader<'t> {
    pub(super) const fn new(lines: Lines<'t>) -> Self {
        Self { lines, errors: Vec::new() }
    }

    pub(super) fn into_errors(self) -> Vec<PolicyError> {
        self.errors
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        self.lines.place(&span)
    }

    pub(super) fn fault(&mut self, span: Range<usize>, fault: Fault) {
        self.fault_at(self.lines.place(&span), fault);
    }

    pub(super) fn fault_at(&mut self, place: Place, fault: Fault) {
        self.errors.push(PolicyError::new(place, fault));
    }

    pub(super) fn wrong_type(&mut self, key: &str, value: &Value<'_>, wanted: &'static str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(value.span(), Fault::WrongType { key: key.into(), found, wanted });
    }

    pub(super) fn reject_unknown(&mut self, table: &DeTable<'_>, known: &'static [&'static str], place: &'static str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref();
            let nearest = nearest(word, known.iter().copied());
            self.fault(key.span(), Fault::UnknownKey { key: word.to_string(), place, nearest, known });
        }
    }

    pub(super) fn string<'a>(&mut self, key: &str, value: &'a Value<'_>) -> Option<&'a str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a text");
        }
        text
    }

    /// A list of texts: neither the list nor a text in it may be empty.
    pub(super) fn strings<'a>(&mut self, key: &str, value: &'a Value<'_>) -> Vec<Text<'a>> {
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts");
            return Vec::new();
        };
        if list.is_empty() {
            self.fault(value.span(), Fault::Empty { key: key.into() });
        }
        let mut texts = Vec::with_capacity(list.len());
        for element in list.iter() {
            match element.get_ref().as_str() {
                Some("") => self.fault(element.span(), Fault::Empty { key: key.into() }),
                Some(text) => texts.push((text, element.span())),
                None => self.wrong_type(key, element, "a list of texts"),
            }
        }
        texts
    }

    pub(super) fn table<'a, 'i>(&mut self, key: &str, value: &'a Value<'i>) -> Option<&'a DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        table
    }

    pub(super) fn trust_domain(&mut self, span: Range<usize>, text: &str) -> Option<TrustDomain> {
        match text.parse() {
            Ok(trust_domain) => Some(trust_domain),
            Err(cause) => {
                self.fault(span, Fault::TrustDomain { text: text.into(), cause });
                None
            }
        }
    }
}
