//! A payload as it was written, with some members under other names: numbers keep every digit.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The longest key that the daemon takes, in bytes.
const MAX_KEY: usize = 256;

/// Which members have another name.
#[derive(Debug, Default)]
pub struct Renames(BTreeMap<String, String>);

impl Renames {
    /// From the name that a service uses to the one that clients know. The failure names the former.
    pub fn new(renames: &BTreeMap<String, String>) -> Result<Self, (String, &'static str)> {
        for (from, to) in renames {
            if to.is_empty() || from.is_empty() {
                return Err((from.clone(), "a name has at least one letter"));
            }
            if from == to {
                return Err((from.clone(), "that is its name already; leave it out"));
            }
            if renames.contains_key(to) {
                return Err((
                    from.clone(),
                    "its new name is renamed itself; a member is renamed once, so name the last one",
                ));
            }
        }
        Ok(Renames(renames.clone()))
    }
}

/// The members of a payload in their order, under the names that clients know.
pub struct Payload<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    json: Cow<'a, RawValue>,
}

impl<'a> Payload<'a> {
    /// `None` when this is no JSON object.
    ///
    /// A member is renamed unless the payload has the other name, too: no name stands twice because of this, and what
    /// a service says by the right name holds.
    pub fn read(bytes: &'a [u8], renames: &Renames) -> Option<Self> {
        let json: &RawValue = serde_json::from_slice(bytes).ok()?;
        let Members(mut members) = serde_json::from_str(json.get()).ok()?;
        let mut taken: HashSet<Cow<'a, str>> = HashSet::new();
        if !renames.0.is_empty() {
            taken.extend(members.iter().map(|(name, _)| name.clone()));
        }
        let mut is_renamed = false;
        for (name, _) in &mut members {
            if let Some(other) = renames.0.get(&**name)
                && taken.insert(Cow::Owned(other.clone()))
            {
                *name = Cow::Owned(other.clone());
                is_renamed = true;
            }
        }
        let json = if is_renamed { Cow::Owned(written(&members)?) } else { Cow::Borrowed(json) };
        Some(Payload { members, json })
    }

    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// What a member says, as far as it can name something: a text or a number. The last one where a name stands twice.
    pub fn name(&self, member: &str) -> Option<Cow<'a, str>> {
        let (_, value) = self.members.iter().rfind(|(name, _)| name == member)?;
        let text = value.get();
        let said = match text.as_bytes().first()? {
            b'"' => Cow::Owned(serde_json::from_str::<String>(text).ok()?),
            b'-' | b'0'..=b'9' => Cow::Borrowed(text),
            _ => return None,
        };
        (!said.is_empty() && said.len() <= MAX_KEY).then_some(said)
    }
}

fn written(members: &[(Cow<'_, str>, &RawValue)]) -> Option<Box<RawValue>> {
    let mut text = String::from("{");
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(name).ok()?);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    RawValue::from_string(text).ok()
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

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
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            found.push((Cow::Owned(name), value));
        }
        Ok(Members(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(pairs: &[(&str, &str)]) -> Renames {
        let pairs = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        Renames::new(&pairs.collect()).unwrap()
    }

    fn renamed(payload: &str, pairs: &[(&str, &str)]) -> String {
        Payload::read(payload.as_bytes(), &renames(pairs)).unwrap().json().get().to_owned()
    }

    #[test]
    fn a_member_gets_the_name_that_clients_know_and_values_stay_as_written() {
        let pairs = [("running", "isRunning"), ("baseId", "chainId")];
        assert_eq!(
            renamed(r#" { "running" : true, "n": 1.50,"baseId":"c1"}"#, &pairs),
            r#"{"isRunning":true,"n":1.50,"chainId":"c1"}"#
        );
        let untouched = r#" {"n" : 1e2 , "x\u0041":[{"running":1}]} "#;
        assert_eq!(renamed(untouched, &pairs), untouched.trim(), "only at the top, and only what is there");
    }

    #[test]
    fn what_is_said_by_the_right_name_holds() {
        let breaker = r#"{"cooldownEnds":"a","resetTime":null}"#;
        assert_eq!(renamed(breaker, &[("cooldownEnds", "resetTime")]), breaker);
        assert_eq!(renamed(r#"{"a":1,"b":2}"#, &[("a", "x"), ("b", "x")]), r#"{"x":1,"b":2}"#, "the first gets it");
    }

    #[test]
    fn a_text_or_a_number_names_something() {
        let long = "x".repeat(MAX_KEY);
        let text = format!(
            r#"{{"a":"c\u00311","b":7,"c":-1.50,"d":"","e":null,"f":{{}},"g":true,"h":"{long}","i":"{long}x","a":"z"}}"#
        );
        let payload = Payload::read(text.as_bytes(), &Renames::default()).unwrap();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|member| payload.name(member));
        let expected =
            ["z", "7", "-1.50", "", "", "", "", &long, "", ""].map(|name| (!name.is_empty()).then_some(name));
        assert_eq!(names.each_ref().map(|name| name.as_deref()), expected);
    }

    #[test]
    fn what_is_no_object_is_no_payload() {
        for bytes in [&b""[..], b"[1]", b"{", b"\"a\"", b"{\"a\":\"\xff\"}", b"{} {}"] {
            assert!(Payload::read(bytes, &Renames::default()).is_none(), "{bytes:?}");
        }
    }
}
