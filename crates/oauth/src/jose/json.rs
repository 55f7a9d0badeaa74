//! JSON objects in which each name stands once, at any depth; text without an escape is not copied.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A value of [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259).
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Object<'a>),
}

/// An object, its members in the order of their names.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// Reads an object, whole, with no member twice and no more than `depth` levels: two parsers must not read it differently.
    pub(crate) fn parse(json: &'a [u8], depth: usize) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(std::str::from_utf8(json).ok()?);
        let value = Strict { left: depth, members: FEW }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        match value {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

impl<'a> Value<'a> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    pub(crate) const fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

/// For whoever must keep it, or hands it to callers of this crate.
impl From<Object<'_>> for serde_json::Map<String, serde_json::Value> {
    fn from(object: Object<'_>) -> Self {
        object.0.into_iter().map(|(name, value)| (name.into_owned(), value.into())).collect()
    }
}

impl From<Value<'_>> for serde_json::Value {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::Text(text) => Self::String(text.into_owned()),
            Value::Array(elements) => elements.into_iter().map(Self::from).collect(),
            Value::Object(object) => Self::Object(object.into()),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict {
    left: usize,
    /// For how many members there is room before the first is read.
    members: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        // Below the outermost object there may be thousands, and nothing in them.
        Ok(Self { left, members: 0 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut object = Vec::with_capacity(self.members);
        while let Some(name) = members.next_key_seed(Name)? {
            object.push((name, members.next_value_seed(inner)?));
        }
        object.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if object.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
            return Err(A::Error::custom("a member stands twice"));
        }
        Ok(Value::Object(Object(object)))
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Members that most tokens do not exceed.
const FEW: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_at_any_depth() {
        assert!(Object::parse(br#"{"a":{"b":[1,-1,1.5,true,null,"x"]},"b":2}"#, 4).is_some());
        for wrong in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":1,"\u0062":1}]}"#,
            r#"{"b":1,"a":2,"c":3,"b":1}"#,
            r#"{"a":1} x"#,
            r#"{"a":[[[[1]]]]}"#,
            r#"["a"]"#,
            "\u{feff}{}",
            "",
        ] {
            assert!(Object::parse(wrong.as_bytes(), 4).is_none(), "{wrong}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}", 4).is_none());
    }

    #[test]
    fn objects_in_objects_take_no_room_before_something_is_in_them() {
        let object = Object::parse(br#"{"a":[{},{}],"b":{"c":{}}}"#, 4).unwrap();
        let array = object.get("a").and_then(Value::as_array).unwrap();
        let outer = object.get("b").and_then(Value::as_object).unwrap();
        let empty = array.iter().chain(outer.get("c")).filter_map(Value::as_object);
        assert_eq!(empty.map(|object| object.0.capacity()).collect::<Vec<_>>(), [0, 0, 0]);
        assert!(object.0.capacity() >= FEW);
    }

    #[test]
    fn a_member_is_found_by_what_its_name_means() {
        let text = r#"{"sub":"a","\u0061ud":["x","\u0079"],"iat":7,"at":-1,"n":null,"t":true,"f":0.5,"o":{"p":"q"}}"#;
        let object = Object::parse(text.as_bytes(), 4).unwrap();
        assert_eq!(object.text("sub"), Some("a"));
        assert_eq!(object.get("iat").and_then(Value::as_u64), Some(7));
        assert_eq!(object.get("at").and_then(Value::as_u64), None);
        assert_eq!(object.names().collect::<Vec<_>>(), ["at", "aud", "f", "iat", "n", "o", "sub", "t"]);
        assert!(object.contains("n") && !object.contains("m"));
        let whole = serde_json::Value::Object(object.into());
        assert_eq!(whole, serde_json::from_str::<serde_json::Value>(text).unwrap());
    }
}
