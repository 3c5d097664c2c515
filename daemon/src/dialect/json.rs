//! What small dialects read and write JSON with: the fields of a message as they were written, and a message under
//! construction.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::event::{write_timestamp, write_timestamp_in_nanos};

/// The fields of one JSON object as they were written; of a name that comes twice, the last.
pub type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Why a text is no message at all.
#[derive(Debug)]
pub enum Unreadable {
    NotJson(serde_json::Error),
    NoObject,
}

pub fn fields(text: &str) -> Result<Fields<'_>, Unreadable> {
    let whole: &RawValue = serde_json::from_str(text).map_err(Unreadable::NotJson)?;
    if !whole.get().starts_with('{') {
        return Err(Unreadable::NoObject);
    }
    serde_json::from_str(whole.get()).map_err(Unreadable::NotJson)
}

/// An object under construction. Names need no escaping.
pub struct Object(Vec<u8>);

impl Object {
    /// An empty one; `size` is a guess at what it will hold.
    pub fn new(size: usize) -> Self {
        let mut out = Vec::with_capacity(size);
        out.push(b'{');
        Self(out)
    }

    /// A message, whose first field is its type.
    pub fn of_type(kind: &str, data_size: usize) -> Self {
        const ENVELOPE: usize = 160;
        Self::new(ENVELOPE + data_size).text("type", kind)
    }

    pub fn text(self, name: &str, text: &str) -> Self {
        self.with(name, |out| push_text(text, out))
    }

    /// A text, or null.
    pub fn text_or_null(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self.json(name, b"null"),
        }
    }

    pub fn texts(self, name: &str, texts: &[impl AsRef<str>]) -> Self {
        self.with(name, |out| {
            out.push(b'[');
            for (index, text) in texts.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_text(text.as_ref(), out);
            }
            out.push(b']');
        })
    }

    pub fn number(self, name: &str, number: u64) -> Self {
        self.with(name, |out| write!(out, "{number}").expect("writing into memory cannot fail"))
    }

    /// Nanoseconds since 1970, as people write a time.
    pub fn time(self, name: &str, unix_ns: i64) -> Self {
        self.quoted(name, |out| write_timestamp(unix_ns, out))
    }

    /// The same with nine decimals.
    pub fn time_in_nanos(self, name: &str, unix_ns: i64) -> Self {
        self.quoted(name, |out| write_timestamp_in_nanos(unix_ns, out))
    }

    /// A field that is JSON already.
    pub fn json(self, name: &str, json: &[u8]) -> Self {
        self.with(name, |out| out.extend_from_slice(json))
    }

    /// A field whose JSON is written in place.
    pub fn with(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.comma();
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        write(&mut self.0);
        self
    }

    /// Lists of records, each under its name: the name may be any text, the records have commas between them.
    pub fn lists(mut self, lists: &[(std::sync::Arc<str>, Bytes)]) -> Self {
        for (name, records) in lists {
            self.comma();
            push_text(name, &mut self.0);
            self.0.extend_from_slice(b":[");
            self.0.extend_from_slice(records);
            self.0.push(b']');
        }
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    /// Text that needs no escaping.
    fn quoted(self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.with(name, |out| {
            out.push(b'"');
            write(out);
            out.push(b'"');
        })
    }

    fn comma(&mut self) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
    }
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_its_fields_in_order_with_commas_between() {
        let lists = [("a\"b".into(), Bytes::from_static(b"1,2")), ("c".into(), Bytes::new())];
        let text = Object::of_type("x\n", 0)
            .text_or_null("n", None)
            .texts("t", &["1", "\""])
            .texts("none", &[""; 0])
            .number("k", 7)
            .time("at", 0)
            .time_in_nanos("to", 1)
            .json("data", &Object::new(0).lists(&lists).end())
            .json("empty", &Object::new(0).end())
            .end();
        let expected = r#"{"type":"x\n","n":null,"t":["1","\""],"none":[],"k":7,"at":"1970-01-01T00:00:00.000Z","to":"1970-01-01T00:00:00.000000001Z","data":{"a\"b":[1,2],"c":[]},"empty":{}}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn fields_are_as_they_were_written_and_the_last_one_counts() {
        let read = fields(r#" {"a": 1.0, "b":{"x" : []}, "a":"\u0041"} "#).unwrap();
        let pairs: Vec<(&str, &str)> = read.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        assert_eq!(pairs, [("a", r#""\u0041""#), ("b", r#"{"x" : []}"#)]);
        assert!(matches!(fields("[1]"), Err(Unreadable::NoObject)));
        for text in ["", "{", "{} {}", "nothing"] {
            assert!(matches!(fields(text), Err(Unreadable::NotJson(_))), "{text}");
        }
    }
}
