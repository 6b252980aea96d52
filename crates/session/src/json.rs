//! JSON, strictly: UTF-8, one document, no member twice, bounded depth.
//!
//! `serde_json` keeps the last of two equal members when it reads into a map; two parsers that
//! choose differently would judge two different tokens. Here the second one is an error at every
//! depth, also when it is spelled with escapes (names are compared after unescaping).
//!
//! Source: docs/protocol.md, head; RFC 7519 §4; RFC 8725bis §3.7.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Deepest nesting we read. Our own messages have 4; an app's `ext` may have the rest.
const MAX_DEPTH: u8 = 16;

/// Parses a document; `None` if it is not strict JSON.
///
/// Allocates in proportion to `bytes`: bound them first.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict {
        depth_left: MAX_DEPTH,
    }
    .deserialize(&mut deserializer)
    .ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// Parses a document that must be an object.
#[must_use]
pub fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match parse(bytes)? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Parses a document strictly and reads it as `T`; `None` if either fails.
#[must_use]
pub fn parse_as<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_value(parse(bytes)?).ok()
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = self.deeper()?;
        let mut array = Vec::new();
        while let Some(value) = items.next_element_seed(item)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let member = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(member)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("member twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_as, parse_object};
    use serde_json::json;

    #[test]
    fn parse_returns_every_kind_of_value() {
        let text = br#"{"a":[null,true,false,0,-7,18446744073709551615,1.5,"\u00fc",""],"b":{}}"#;
        let value = json!({"a": [null, true, false, 0, -7, u64::MAX, 1.5, "\u{fc}", ""], "b": {}});
        assert_eq!(parse(text), Some(value));
    }

    #[test]
    fn parse_as_reads_a_type_and_refuses_a_member_twice() {
        assert_eq!(parse_as::<Vec<u8>>(b"[1,2]"), Some(vec![1, 2]));
        assert_eq!(parse_as::<Vec<u8>>(b"[1,-2]"), None);
        assert_eq!(parse_as::<serde_json::Value>(br#"{"a":1,"a":1}"#), None);
    }

    #[test]
    fn parse_refuses_member_twice_at_every_depth_and_spelling() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            r#"[[{"a":1,"b":2,"a":3}]]"#,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert!(parse(br#"{"a":1,"A":2,"b":{"a":3}}"#).is_some());
    }

    #[test]
    fn parse_refuses_trailing_data_and_bad_text() {
        for bytes in [
            &b"{} x"[..],
            b"{}{}",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"{'a':1}",
            b"[1,]",
            b"NaN",
            b"1e400",
            b"",
        ] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
        assert!(parse(b" {} \n").is_some());
    }

    #[test]
    fn parse_refuses_one_level_too_deep() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));

        assert!(parse(nested(16).as_bytes()).is_some());
        assert_eq!(parse(nested(17).as_bytes()), None);
        assert_eq!(parse(nested(100_000).as_bytes()), None);
    }

    #[test]
    fn parse_object_refuses_what_is_no_object() {
        for text in ["[]", "null", "1", "\"x\"", "true"] {
            assert_eq!(parse_object(text.as_bytes()), None);
        }
    }
}
