//! JSON whose members are moved, renamed and replaced without reading or rewriting their values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// An object in its own order; what is not touched leaves as the bytes that came.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
}

impl<'a> Object<'a> {
    /// Reads an object; a key that stands twice is refused.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    /// The member as a string, if it is one.
    pub(crate) fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).and_then(text)
    }

    /// The member as an object, if it is one.
    pub(crate) fn object(&self, key: &str) -> Option<Object<'_>> {
        self.get(key).and_then(|value| Object::parse(value.get()).ok())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn set(&mut self, key: &'static str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.members.push((Cow::Borrowed(key), Cow::Owned(value))),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.members.retain(|(name, _)| name != key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.members.retain(|(name, _)| keep(name));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object as a value of another one.
    pub(crate) fn raw(&self) -> Box<RawValue> {
        raw(self)
    }

    /// The object on one line: outside strings a line break is white space, inside it cannot stand.
    pub(crate) fn line(&self) -> String {
        one_line(self.raw().get())
    }
}

/// Replaces the line breaks of pretty-printed JSON by spaces.
pub(crate) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// A string value's text.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    struct Text<'a>(Cow<'a, str>);
    impl<'de> Deserialize<'de> for Text<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(TextVisitor).map(Text)
        }
    }
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// A value of ours as raw JSON; what we serialise are strings, numbers and maps with string keys, which cannot fail.
pub(crate) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A key: borrowed unless it holds an escape.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Key)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, Cow<'de, RawValue>)> = Vec::new();
                while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                    if members.iter().any(|(name, _)| *name == key) {
                        return Err(serde::de::Error::custom("a key stands twice"));
                    }
                    members.push((key, Cow::Borrowed(map.next_value::<&'de RawValue>()?)));
                }
                Ok(Object { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (key, value) in &self.members {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_members_leave_as_they_came() {
        let text = r#"{"id":1,"params":{"n":1.0,"big":123456789012345678901234567890,"s":"\u0061"}}"#;
        let mut object = Object::parse(text).unwrap();
        object.set("id", raw(&7));
        assert_eq!(object.line(), text.replace("\"id\":1", "\"id\":7"));
    }

    #[test]
    fn a_key_twice_is_refused_even_when_escaped() {
        assert!(Object::parse(r#"{"name":1,"n\u0061me":2}"#).is_err());
    }

    #[test]
    fn pretty_printed_json_becomes_one_line() {
        let object = Object::parse("{\n \"a\": [1,\r\n 2]\n}").unwrap();
        assert!(!object.line().contains(['\n', '\r']));
    }
}
