//! A point in time, shown as a text of RFC 3339 with three decimals, as everywhere on the wire.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Timestamp);

impl Stamp {
    /// None: it is beyond the years that a date can have.
    pub fn of_ms(ms: i64) -> Option<Self> {
        Timestamp::from_millisecond(ms).ok().map(Self)
    }

    pub fn of_ns(ns: i64) -> Self {
        let time = Timestamp::from_nanosecond(i128::from(ns)).expect("the nanoseconds of 64 bits end before year 9999");
        Self::to_ms(time)
    }

    /// None: the text is no time.
    pub fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::to_ms)
    }

    /// Microseconds since 1970; 0 before that.
    pub fn us(self) -> u64 {
        u64::try_from(self.0.as_microsecond()).unwrap_or(0)
    }

    fn to_ms(time: Timestamp) -> Self {
        Self(Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| serde::de::Error::custom("a time is a text such as 2026-01-17T10:00:00Z"))
    }
}

impl JsonSchema for Stamp {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_to_the_millisecond_and_read_back() {
        let stamp = Stamp::of_ns(1_500_900_001);
        assert_eq!((stamp.to_string(), Stamp::of_ms(1_500)), ("1970-01-01T00:00:01.500Z".to_owned(), Some(stamp)));
        assert_eq!(Stamp::read("1970-01-01T01:00:01.5009+01:00"), Some(stamp));
        let json = serde_json::to_string(&stamp).unwrap();
        assert_eq!(serde_json::from_str::<Stamp>(&json).unwrap(), stamp);
        assert!(serde_json::from_str::<Stamp>("\"soon\"").is_err());
        assert_eq!((Stamp::of_ms(i64::MAX), Stamp::read("")), (None, None));
        assert_eq!((stamp.us(), Stamp::of_ns(-1_000_000).us()), (1_500_000, 0));
        let _the_ends_are_dates = [Stamp::of_ns(i64::MIN), Stamp::of_ns(i64::MAX)];
    }
}
