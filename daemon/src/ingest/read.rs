//! One event's text to a draft: every field checked, nothing copied that needs no decoding.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dialect::members::members;
use crate::event::{Draft, timestamp};
use crate::hub::names::Names;

/// The longest text field in bytes: long enough for any name, short enough that tables of them stay small.
const MAX_TEXT_BYTES: usize = 256;
/// Every field that an event may have, with its pointer.
const FIELDS: [(&str, &str); 10] = [
    ("stream", "/stream"),
    ("topic", "/topic"),
    ("type", "/type"),
    ("data", "/data"),
    ("key", "/key"),
    ("record", "/record"),
    ("audience", "/audience"),
    ("session_id", "/session_id"),
    ("timestamp", "/timestamp"),
    ("id", "/id"),
];
/// The payload of an event that brings none.
const NO_DATA: &[u8] = b"{}";

/// What is wrong with an event, and where in it: a JSON pointer, empty for the event as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub pointer: Cow<'static, str>,
    pub error: String,
}

/// An event that is in order, as far as can be told without its stream.
#[derive(Debug)]
pub struct Incoming<'a> {
    topic: Cow<'a, str>,
    kind: Cow<'a, str>,
    key: Cow<'a, str>,
    audience: Cow<'a, str>,
    session_id: Cow<'a, str>,
    id: Cow<'a, str>,
    record: &'a [u8],
    payload: &'a [u8],
    unix_ns: i64,
}

impl Incoming<'_> {
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part after the stream; empty is the root topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn payload(&self) -> &[u8] {
        self.payload
    }

    pub fn draft(&self) -> Draft<'_> {
        Draft {
            kind: &self.kind,
            topic: &self.topic,
            key: &self.key,
            record: self.record,
            audience: &self.audience,
            session_id: &self.session_id,
            payload: self.payload,
            unix_ns: self.unix_ns,
            id: &self.id,
            ..Draft::default()
        }
    }
}

impl Mistake {
    pub fn not_json(error: &serde_json::Error) -> Self {
        mistake("", &format!("not JSON: {error}"))
    }
}

/// The fields of one event, still as the client wrote them.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    values: [Option<&'a RawValue>; FIELDS.len()],
    /// The first field that an event does not have, or has already.
    mistake: Option<Mistake>,
}

impl<'a> Fields<'a> {
    pub fn read(text: &'a RawValue) -> Result<Self, Mistake> {
        if !text.get().starts_with('{') {
            return Err(mistake("", "an event is a JSON object, like {\"type\":\"tick\",\"data\":{}}"));
        }
        let fields: Self = serde_json::from_str(text.get()).map_err(|error| Mistake::not_json(&error))?;
        match fields.mistake {
            Some(mistake) => Err(mistake),
            None => Ok(fields),
        }
    }

    /// The same from a native message, where `type` says `publish`, `kind` what happened, `topic` names the stream, too, and
    /// `id` is the mark of the request.
    pub fn read_message(text: &'a RawValue) -> Result<Self, Mistake> {
        let mut fields = Self::default();
        for (name, value) in members(text.get().as_bytes()).unwrap_or_default() {
            match &*name {
                "type" | "id" => {}
                "kind" => fields.put("type", value),
                name => fields.put(name, value),
            }
        }
        fields.mistake.take().map_or(Ok(fields), Err)
    }

    /// The stream that the event is for, if it says so.
    pub fn stream(&self) -> Result<Cow<'a, str>, Mistake> {
        self.text("stream")
    }

    /// The stream that the event's topic belongs to.
    pub fn stream_of_topic(&self) -> Result<Cow<'a, str>, Mistake> {
        let topic = self.text("topic")?;
        Ok(topic.split_once(':').map_or(topic.clone(), |(stream, _)| stream.to_owned().into()))
    }

    /// What the publisher knows the event by, if it is one that can be.
    pub fn id(&self) -> Option<Cow<'a, str>> {
        self.text("id").ok().filter(|id| !id.is_empty())
    }

    /// The event, which was sent to this stream. Its publisher may call that by other names.
    pub fn event(&self, stream: &str, names: &Names) -> Result<Incoming<'a>, Mistake> {
        let called = self.stream()?;
        if !called.is_empty() && names.name_of(&called) != stream {
            return Err(mistake("/stream", "the event is for another stream; send it there, or leave \"stream\" out"));
        }
        let kind = self.text("type")?;
        if kind.is_empty() {
            return Err(mistake("/type", "\"type\" is missing; it says what happened"));
        }
        let event = Incoming {
            topic: part_after(self.text("topic")?, stream, names)?,
            kind,
            key: self.text("key")?,
            audience: self.audience()?,
            session_id: self.text("session_id")?,
            id: self.text("id")?,
            record: self.object("record")?.unwrap_or_default(),
            payload: self.object("data")?.unwrap_or(NO_DATA),
            unix_ns: read_timestamp(&self.text("timestamp")?)?,
        };
        if !event.record.is_empty() && event.key.is_empty() {
            return Err(mistake("/record", "a record belongs to a key; give \"key\", too"));
        }
        Ok(event)
    }

    fn put(&mut self, name: &str, value: &'a RawValue) {
        let known = FIELDS.iter().position(|(known, _)| *known == name);
        let error = match known.map(|index| self.values[index].replace(value)) {
            Some(None) => return,
            Some(Some(_)) => format!("\"{name}\" is given twice"),
            None => {
                let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
                format!("unknown field \"{}\"; an event has: {}", name.escape_debug(), known.join(", "))
            }
        };
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.mistake.get_or_insert(Mistake { pointer: pointer.into(), error });
    }

    fn get(&self, name: &str) -> Option<(&'static str, &'a RawValue)> {
        let index = FIELDS.iter().position(|(known, _)| *known == name)?;
        let value = self.values[index].filter(|value| value.get() != "null")?;
        Some((FIELDS[index].1, value))
    }

    /// A text that is not empty; empty where there is none.
    fn text(&self, name: &str) -> Result<Cow<'a, str>, Mistake> {
        let Some((pointer, value)) = self.get(name) else { return Ok(Cow::Borrowed("")) };
        let text = serde_json::from_str::<Text<'a>>(value.get());
        match text {
            Ok(Text(text)) if text.is_empty() => Err(mistake(pointer, &format!("\"{name}\" is empty; leave it out"))),
            Ok(Text(text)) if text.len() > MAX_TEXT_BYTES => {
                Err(mistake(pointer, &format!("\"{name}\" has at most {MAX_TEXT_BYTES} bytes")))
            }
            Ok(Text(text)) => Ok(text),
            Err(_) => Err(mistake(pointer, &format!("\"{name}\" must be a string"))),
        }
    }

    /// Whom it is for. Services that know of no user say so by an empty text, too.
    fn audience(&self) -> Result<Cow<'a, str>, Mistake> {
        match self.get("audience") {
            Some((_, value)) if value.get() == "\"\"" => Ok(Cow::Borrowed("")),
            _ => self.text("audience"),
        }
    }

    fn object(&self, name: &str) -> Result<Option<&'a [u8]>, Mistake> {
        match self.get(name) {
            None => Ok(None),
            Some((_, value)) if value.get().starts_with('{') => Ok(Some(value.get().as_bytes())),
            Some((pointer, _)) => Err(mistake(pointer, &format!("\"{name}\" must be an object"))),
        }
    }
}

/// A string, borrowed where it needs no decoding.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(Fields<'a>);

        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Fields<'a>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an event")
            }

            fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Fields<'a>, M::Error> {
                while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
                    self.0.put(&name, map.next_value()?);
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_map(Reader(Fields::default()))
    }
}

/// A full topic of the stream without the stream's name; the bare name, and no topic at all, are the root topic.
fn part_after<'a>(topic: Cow<'a, str>, stream: &str, names: &Names) -> Result<Cow<'a, str>, Mistake> {
    let (called, part) = topic.split_once(':').map_or((&*topic, None), |(called, part)| (called, Some(part)));
    let cut = called.len() + 1;
    if topic.is_empty() || part.is_none() && names.name_of(called) == stream {
        return Ok(Cow::Borrowed(""));
    }
    if names.name_of(called) != stream || part.is_none_or(str::is_empty) {
        return Err(mistake(
            "/topic",
            &format!("a topic of this stream begins with \"{stream}:\", and a part follows"),
        ));
    }
    Ok(match topic {
        Cow::Borrowed(topic) => Cow::Borrowed(&topic[cut..]),
        Cow::Owned(topic) => Cow::Owned(topic[cut..].to_owned()),
    })
}

fn read_timestamp(text: &str) -> Result<i64, Mistake> {
    if text.is_empty() {
        return Ok(0); // the hub stamps it
    }
    timestamp::parse(text).filter(|unix_ns| *unix_ns > 0).ok_or_else(|| {
        mistake("/timestamp", "\"timestamp\" must be RFC 3339 and after 1970, like 2025-12-29T15:00:00.000Z")
    })
}

fn mistake(pointer: &'static str, error: &str) -> Mistake {
    Mistake { pointer: pointer.into(), error: error.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, look: impl FnOnce(Result<Incoming<'_>, Mistake>) -> T) -> T {
        look(
            Fields::read(serde_json::from_str(text).unwrap())
                .and_then(|fields| fields.event("ticks", &Names::default())),
        )
    }

    #[test]
    fn a_whole_event_becomes_a_draft_without_a_copy() {
        let text = r#"{"stream":"ticks","topic":"ticks:AAPL:1","type":"tick","data":{"p": 1},"key":"k","record":{"r":2},
            "audience":"u","session_id":"s","timestamp":"1970-01-01T00:00:01Z","id":"7"}"#;
        with(text, |event| {
            let event = event.unwrap();
            let expected = Draft {
                topic: "AAPL:1",
                kind: "tick",
                key: "k",
                record: b"{\"r\":2}",
                audience: "u",
                session_id: "s",
                payload: b"{\"p\": 1}",
                unix_ns: 1_000_000_000,
                id: "7",
                ..Draft::default()
            };
            assert_eq!(format!("{:?}", event.draft()), format!("{expected:?}"));
            assert!(matches!(
                (&event.topic, &event.kind, &event.id),
                (Cow::Borrowed(_), Cow::Borrowed(_), Cow::Borrowed(_))
            ));
        });
    }

    #[test]
    fn what_is_left_out_or_null_is_empty() {
        for text in [r#"{"type":"flush"}"#, r#"{"type":"flush","topic":"ticks","data":{},"key":null,"record":null}"#] {
            with(text, |event| {
                let expected = Draft { kind: "flush", payload: b"{}", ..Draft::default() };
                assert_eq!(format!("{:?}", event.unwrap().draft()), format!("{expected:?}"));
            });
        }
    }

    #[test]
    fn escapes_are_decoded() {
        with(r#"{"ty\u0070e":"\u00e9t\u00e9","topic":"ticks:\u0041"}"#, |event| {
            let event = event.unwrap();
            assert_eq!((event.draft().kind, event.draft().topic), ("été", "A"));
        });
    }

    #[test]
    fn mistakes_say_where_and_what() {
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(257));
        let rows = [
            ("7", "", "an event is a JSON object, like {\"type\":\"tick\",\"data\":{}}"),
            ("{}", "/type", "\"type\" is missing; it says what happened"),
            (r#"{"type":null}"#, "/type", "\"type\" is missing; it says what happened"),
            (r#"{"type":""}"#, "/type", "\"type\" is empty; leave it out"),
            (r#"{"type":7}"#, "/type", "\"type\" must be a string"),
            (&long, "/type", "\"type\" has at most 256 bytes"),
            (r#"{"type":"t","data":[1]}"#, "/data", "\"data\" must be an object"),
            (r#"{"type":"t","record":"r","key":"k"}"#, "/record", "\"record\" must be an object"),
            (r#"{"type":"t","record":{}}"#, "/record", "a record belongs to a key; give \"key\", too"),
            (
                r#"{"type":"t","topic":"bars:A"}"#,
                "/topic",
                "a topic of this stream begins with \"ticks:\", and a part follows",
            ),
            (
                r#"{"type":"t","topic":"ticksy:A"}"#,
                "/topic",
                "a topic of this stream begins with \"ticks:\", and a part follows",
            ),
            (
                r#"{"type":"t","topic":"ticks:"}"#,
                "/topic",
                "a topic of this stream begins with \"ticks:\", and a part follows",
            ),
            (
                r#"{"type":"t","timestamp":"yesterday"}"#,
                "/timestamp",
                "\"timestamp\" must be RFC 3339 and after 1970, like 2025-12-29T15:00:00.000Z",
            ),
            (
                r#"{"type":"t","timestamp":"1970-01-01T00:00:00Z"}"#,
                "/timestamp",
                "\"timestamp\" must be RFC 3339 and after 1970, like 2025-12-29T15:00:00.000Z",
            ),
            (
                r#"{"type":"t","stream":"bars"}"#,
                "/stream",
                "the event is for another stream; send it there, or leave \"stream\" out",
            ),
            (r#"{"type":"t","type":"u"}"#, "/type", "\"type\" is given twice"),
            (
                r#"{"type":"t","a/b~":1,"kind":"u"}"#,
                "/a~1b~0",
                "unknown field \"a/b~\"; an event has: stream, topic, type, data, key, record, audience, session_id, timestamp, id",
            ),
        ];
        for (text, pointer, error) in rows {
            let expected = mistake(pointer, error);
            with(text, |event| assert_eq!(event.unwrap_err(), expected, "{text}"));
        }
        with(&format!(r#"{{"type":"{}"}}"#, "x".repeat(256)), |event| assert!(event.is_ok()));
    }
}
