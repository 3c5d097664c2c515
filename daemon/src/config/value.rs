//! Values with units as an operator writes them: durations, sizes, intervals of time and addresses.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::network::{Network, RULE as NETWORK_RULE};

/// Units of time, longest first, so that printing takes the longest one that divides evenly. In nanoseconds.
const TIME_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of memory, largest first. Only powers of two: a buffer is never asked for in decimal megabytes.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The longest duration accepted: ten years, so that adding one to a clock never overflows.
const LONGEST: u128 = 3_650 * 86_400_000_000_000;

/// What a duration looks like, for the text of an error.
pub const DURATION_RULE: &str = "a duration is a string like \"500ms\", \"2s\" or \"1m30s\" (units ns, us, ms, s, m, h, \
                                 d); a bare number is seconds";
/// What a size looks like, for the text of an error.
pub const SIZE_RULE: &str = "a size is a string like \"512B\", \"64KiB\", \"1MiB\" or \"1GiB\"; a bare number is bytes";
/// What an interval looks like, for the text of an error.
pub const INTERVAL_RULE: &str = "an interval is two durations, shortest first, like \"100ms..30s\"";
/// What an address looks like, for the text of an error.
pub const ADDRESS_RULE: &str = "an address is \"IP:PORT\" like \"127.0.0.1:8080\" or \"[::1]:8080\", or \
                                \"unix:/path/to/socket\"";

/// A length of time: `"2s"`, `"500ms"`, `"1m30s"`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

impl Duration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// A bare number is seconds; refused when negative, not finite or longer than ten years.
    pub fn from_number(seconds: f64) -> Result<Self, &'static str> {
        match std::time::Duration::try_from_secs_f64(seconds) {
            Ok(length) if length.as_nanos() <= LONGEST => Ok(Self(length)),
            _ => Err(DURATION_RULE),
        }
    }

    pub fn as_seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Duration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Self::from_number(seconds);
        }
        let mut rest = text;
        let mut nanos: u128 = 0;
        let mut previous = u128::MAX;
        while !rest.is_empty() {
            let (amount, unit, after) = split_quantity(rest).ok_or(DURATION_RULE)?;
            let scale = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or(DURATION_RULE)?.1;
            // Units fall, so that "30s1m" and "1m1m" are seen as the slips they are.
            if scale >= previous {
                return Err(DURATION_RULE);
            }
            previous = scale;
            nanos = nanos.saturating_add(scaled(amount, scale).ok_or(DURATION_RULE)?);
            rest = after;
        }
        match u64::try_from(nanos) {
            Ok(fits) if nanos <= LONGEST && !text.is_empty() => Ok(Self(std::time::Duration::from_nanos(fits))),
            _ => Err(DURATION_RULE),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.as_nanos();
        if nanos == 0 {
            return out.write_str("0s");
        }
        for (unit, scale) in TIME_UNITS {
            let whole = nanos / scale;
            if whole > 0 {
                write!(out, "{whole}{unit}")?;
                nanos %= scale;
            }
        }
        Ok(())
    }
}

/// An amount of memory: `"64KiB"`, `"1MiB"`, or a bare number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// A bare number is bytes; refused when negative, not whole or beyond what an offset can say.
    pub fn from_number(bytes: f64) -> Result<Self, &'static str> {
        if bytes.fract() == 0.0 && (0.0..=9.0e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(SIZE_RULE) }
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(bytes) = text.parse::<f64>() {
            return Self::from_number(bytes);
        }
        let (amount, unit, rest) = split_quantity(text).ok_or(SIZE_RULE)?;
        let scale = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(SIZE_RULE)?.1;
        match scaled(amount, u128::from(scale)).map(u64::try_from) {
            Some(Ok(bytes)) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err(SIZE_RULE),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&str, u64)| self.0 >= *scale && self.0.is_multiple_of(*scale);
        match SIZE_UNITS.iter().find(fits) {
            Some((unit, scale)) => write!(out, "{}{unit}", self.0 / scale),
            None => out.write_str("0B"),
        }
    }
}

/// From the shortest to the longest wait: `"100ms..30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    pub from: Duration,
    pub to: Duration,
}

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once("..").ok_or(INTERVAL_RULE)?;
        let parsed = (from.parse(), to.parse());
        match parsed {
            (Ok(from), Ok(to)) if from <= to => Ok(Self { from, to }),
            _ => Err(INTERVAL_RULE),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}..{}", self.from, self.to)
    }
}

/// Where to listen: an IP address and port, or a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => text.parse().map(Self::Tcp).map_err(|_| ADDRESS_RULE),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A formatted text read as a number: seconds of a duration, bytes of a size. `None` for any other format.
pub fn measure(format: &str, text: &str) -> Option<Result<f64, &'static str>> {
    match format {
        "duration" => Some(text.parse::<Duration>().map(Duration::as_seconds)),
        "size" => Some(text.parse::<Size>().map(|size| size.0 as f64)),
        _ => None,
    }
}

/// Whether a text is written as its format asks; formats that are not ours say nothing.
pub fn follows_format(format: &str, text: &str) -> Result<(), &'static str> {
    match format {
        "interval" => text.parse::<Interval>().map(drop),
        "socket-address" => text.parse::<Address>().map(drop),
        "network" => text.parse::<Network>().map(drop),
        _ => measure(format, text).map_or(Ok(()), |read| read.map(drop)),
    }
}

/// Splits `"1.5KiB rest"` into amount, unit and what follows.
fn split_quantity(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (amount, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    (!amount.is_empty()).then_some((amount, unit, rest))
}

/// An amount in its unit as a whole number of the smallest unit; `None` when it does not come out whole.
fn scaled(amount: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let base = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()?.checked_mul(scale)?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    (part % base == 0).then(|| whole.checked_add(part / base))?
}

/// Gives a value its text form in serde and its `format` in the schema; `$number` says what a bare number means.
macro_rules! written_as_text {
    ($type:ident, $format:literal, [$($json_type:literal),+], $rule:ident, $number:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                        out.write_str($rule)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_f64(number as f64)
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_f64(number as f64)
                    }

                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$type, E> {
                        let read: fn(f64) -> Result<$type, &'static str> = $number;
                        read(number).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": [$($json_type),+], "format": $format })
            }
        }
    };
}

written_as_text!(Duration, "duration", ["string", "number"], DURATION_RULE, Duration::from_number);
written_as_text!(Size, "size", ["string", "integer"], SIZE_RULE, Size::from_number);
written_as_text!(Interval, "interval", ["string"], INTERVAL_RULE, |_| Err(INTERVAL_RULE));
written_as_text!(Address, "socket-address", ["string"], ADDRESS_RULE, |_| Err(ADDRESS_RULE));
written_as_text!(Network, "network", ["string"], NETWORK_RULE, |_| Err(NETWORK_RULE));

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u128> {
        text.parse::<Duration>().ok().map(|length| length.0.as_nanos())
    }

    #[test]
    fn durations_take_units_sums_and_bare_seconds() {
        assert_eq!(nanos("2s"), Some(2_000_000_000));
        assert_eq!(nanos("500ms"), Some(500_000_000));
        assert_eq!(nanos("1m30s"), Some(90_000_000_000));
        assert_eq!(nanos("1.5s"), Some(1_500_000_000));
        assert_eq!(nanos("0.5"), Some(500_000_000));
        assert_eq!(nanos("3650d"), Some(LONGEST));
        assert_eq!(nanos("2"), Some(2_000_000_000));
        for wrong in ["", "s", "2 s", "-1s", "-1", "30s1m", "1m1m", "2sec", "1.s", "inf", "nan", "3650d1ns", "1e30"] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_take_binary_units_and_bare_bytes() {
        let bytes = |text: &str| text.parse::<Size>().ok().map(|size| size.0);
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("1.5KiB"), Some(1_536));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        assert_eq!(bytes("512"), Some(512));
        for wrong in ["", "KiB", "1KB", "1kib", "-1", "0.3B", "1MiB2KiB", "99999999999GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn intervals_and_addresses() {
        let interval: Interval = "100ms..30s".parse().unwrap();
        assert_eq!((interval.from, interval.to), (Duration::from_millis(100), Duration::from_secs(30)));
        assert!("30s..100ms".parse::<Interval>().is_err());
        assert!("30s".parse::<Interval>().is_err());
        assert!(matches!("[::1]:80".parse(), Ok(Address::Tcp(_))));
        assert!(matches!("unix:/run/x.sock".parse(), Ok(Address::Unix(_))));
        for wrong in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999", "unix:run", "systemd:http", ":80"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(length in 0..LONGEST, bytes in 0..9_000_000_000_000_000_000u64) {
            let length = Duration(std::time::Duration::from_nanos(u64::try_from(length).unwrap()));
            assert_eq!(length.to_string().parse(), Ok(length));
            let size = Size(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
