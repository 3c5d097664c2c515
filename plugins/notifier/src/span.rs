//! Lengths of time in settings: `2s`, `500ms`, `1m30s`, or a bare number of seconds.
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest one that is taken; sums with a time of the calendar stay far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

const RULE: &str =
    "write numbers with units ms, s, m, h or d such as \"1m30s\", or a bare number of seconds, at most 366d";

/// A length of time, as config.toml writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds; for defaults.
    pub const fn seconds(seconds: u64) -> Self {
        Span(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse() {
            return Self::from_seconds(seconds);
        }
        let mut rest = text;
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let (part, after) = split_part(rest)?;
            seconds += part;
            rest = after;
        }
        if text.is_empty() { None } else { Self::from_seconds(seconds) }
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        let length = Duration::try_from_secs_f64(seconds).ok()?;
        (length <= LONGEST).then_some(Span(length))
    }
}

/// The seconds of the first number with its unit, and what follows it.
fn split_part(text: &str) -> Option<(f64, &str)> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, rest) = text.split_at(unit_at);
    let next_at = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(next_at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * seconds, after))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

/// As defaults show themselves in a schema.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrSeconds)
    }
}

struct TextOrSeconds;

impl Visitor<'_> for TextOrSeconds {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a duration; {RULE}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        Span::parse(text).ok_or_else(|| E::custom(format!("duration {text:?} is not valid; {RULE}")))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Span, E> {
        Span::from_seconds(seconds).ok_or_else(|| E::custom(format!("{seconds} seconds are not valid; {RULE}")))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        self.visit_f64(seconds as f64)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "format": "duration" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers() {
        for (json, ms) in [
            ("\"2s\"", 2_000),
            ("\"500ms\"", 500),
            ("\"1m30s\"", 90_000),
            ("\"1.5h\"", 5_400_000),
            ("2", 2_000),
            ("0.5", 500),
            ("\"366d\"", 31_622_400_000),
        ] {
            let span: Span = serde_json::from_str(json).unwrap();
            assert_eq!(span.0.as_millis(), ms, "{json}");
            assert_eq!(Span::parse(&span.to_string()), Some(span));
        }
        for bad in ["\"\"", "\"s\"", "\"2 s\"", "\"2x\"", "-1", "1e300", "\"367d\"", "\"NaN\"", "\"1..2s\"", "[]"] {
            let error = serde_json::from_str::<Span>(bad).unwrap_err().to_string();
            assert!(error.contains("1m30s"), "{bad}: {error}");
        }
    }
}
