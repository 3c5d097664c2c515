//! The members of a JSON object as they were written, for dialects that show some of them or add to them: numbers keep
//! every digit.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A name, and its value.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The object's names and values in their order; `None` when this is no object.
pub fn members(object: &[u8]) -> Option<Vec<Member<'_>>> {
    serde_json::from_slice::<Members<'_>>(object).ok().map(|members| members.0)
}

/// One of them; the last, where a name stands twice, as in every JSON parser that keeps one.
pub fn member<'a>(members: &[Member<'a>], name: &str) -> Option<&'a RawValue> {
    members.iter().rfind(|(known, _)| known == name).map(|(_, value)| *value)
}

struct Members<'a>(Vec<Member<'a>>);

/// A name as it stands, where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Gather)
    }
}

struct Gather;

impl<'de> Visitor<'de> for Gather {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            found.push((name, value));
        }
        Ok(Members(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_they_were_written() {
        let found = members(br#" { "a" : 1.50 , "\u0062":{"x":[1, 2]}, "a":1e2 } "#).unwrap();
        let texts: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(texts, [("a", "1.50"), ("b", r#"{"x":[1, 2]}"#), ("a", "1e2")]);
        assert_eq!(member(&found, "a").unwrap().get(), "1e2");
        assert!(member(&found, "c").is_none());
        assert!(members(b"[1]").is_none() && members(b"{\"a\":1}x").is_none() && members(b"{}").unwrap().is_empty());
    }
}
