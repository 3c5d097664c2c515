//! Times as programs and clients write them, RFC 3339, and as the rest counts them: milliseconds since 1970.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Milliseconds since 1970 (UTC), shown as `2025-12-29T15:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<Timestamp>().map(|time| Self(time.as_millisecond()));
        parsed
            .map_err(|_| format!("{text:?} is no time; write it as RFC 3339 with its offset, 2025-12-29T15:00:00.000Z"))
    }

    /// Nanoseconds since 1970, without what is finer than milliseconds.
    pub fn of_nanos(unix_ns: i64) -> Self {
        Self(unix_ns.div_euclid(1_000_000))
    }

    /// How long ago an earlier time is; nothing if it is not earlier.
    pub fn ms_since(self, earlier: Time) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) if self.0 < 0 => write!(f, "{:.3}", Timestamp::MIN),
            Err(_) => write!(f, "{:.3}", Timestamp::MAX),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_milliseconds_of_utc() {
        for (text, shown) in [
            ("2025-12-29T15:00:00Z", "2025-12-29T15:00:00.000Z"),
            ("2025-12-29T16:00:00.1239+01:00", "2025-12-29T15:00:00.123Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(Time::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "2025-12-29", "2025-12-29T15:00:00", "now", "1767020400000"] {
            assert!(Time::parse(bad).unwrap_err().contains("RFC 3339"), "{bad}");
        }
        assert!(Time(i64::MAX).to_string().starts_with("9999-") && Time(i64::MIN).to_string().starts_with("-009999-"));
        assert_eq!((Time(5).ms_since(Time(7)), Time(i64::MAX).ms_since(Time(i64::MIN))), (0, i64::MAX as u64));
        assert_eq!(Time::of_nanos(-1), Time(-1));
    }
}
