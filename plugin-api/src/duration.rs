//! Durations in settings: `2s`, `500ms`, `1m30s`, or a bare number of seconds.
use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest duration taken; every sum with a time of the calendar stays far from overflow.
pub const LONGEST: Duration = Duration(366 * 86_400_000);

const RULE: &str =
    "write numbers with units ms, s, m, h or d such as \"1m30s\", or a bare number of seconds, at most 366d";

/// A duration that `settings` in config.toml say: whole milliseconds from 0 to [`LONGEST`]. Its schema has the format
/// `duration`.
///
/// ```
/// use broadcastd_plugin_api::duration::Duration;
/// let patience: Duration = serde_json::from_str("\"1m30s\"").unwrap();
/// assert_eq!((patience.as_ms(), patience), (90_000, Duration::from_ms(90_000)));
/// assert_eq!(patience.to_std(), std::time::Duration::from_secs(90));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(i64);

impl Duration {
    /// So many milliseconds.
    pub const fn from_ms(ms: u32) -> Self {
        Self(ms as i64)
    }

    /// As milliseconds.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// As the standard library's.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.unsigned_abs())
    }

    /// Reads what settings say; the failure says what they may.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("duration {text:?} is not valid; {RULE}");
        if let Ok(seconds) = text.parse() {
            return Self::from_seconds(seconds).ok_or_else(refuse);
        }
        let mut rest = text;
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let (part, after) = split_part(rest).ok_or_else(refuse)?;
            seconds += part;
            rest = after;
        }
        (!text.is_empty()).then(|| Self::from_seconds(seconds)).flatten().ok_or_else(refuse)
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        let ms = (seconds * 1_000.0).round();
        (0.0..=LONGEST.0 as f64).contains(&ms).then_some(Self(ms as i64))
    }
}

/// The seconds of the first number with its unit, and what follows it.
fn split_part(text: &str) -> Option<(f64, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(unit_at);
    let next_at = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
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

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms if ms == 0 || ms % 60_000 != 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{}m", ms / 60_000),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrSeconds)
    }
}

struct TextOrSeconds;

impl Visitor<'_> for TextOrSeconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a duration; {RULE}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        Duration::parse(text).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        Duration::from_seconds(seconds).ok_or_else(|| E::custom(format!("{seconds} seconds are not valid; {RULE}")))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        self.visit_f64(seconds as f64)
    }
}

impl JsonSchema for Duration {
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
            ("\"0s\"", 0),
            ("\"2.0\"", 2_000),
            ("2", 2_000),
            ("0.5", 500),
            ("\"366d\"", LONGEST.as_ms()),
        ] {
            let duration: Duration = serde_json::from_str(json).unwrap();
            assert_eq!(duration.as_ms(), ms, "{json}");
            assert_eq!(Duration::parse(&duration.to_string()), Ok(duration));
        }
        for bad in [
            "\"\"",
            "\"s\"",
            "\"2 s\"",
            "\"2x\"",
            "\"-2s\"",
            "-1",
            "1e300",
            "\"367d\"",
            "\"NaN\"",
            "\"inf\"",
            "\"1..2s\"",
            "\"2sé\"",
            "[]",
            "true",
        ] {
            let error = serde_json::from_str::<Duration>(bad).unwrap_err().to_string();
            assert!(error.contains("1m30s"), "{bad}: {error}");
        }
    }
}
