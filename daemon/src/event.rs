//! The words everyone shares: an event, what a publisher hands in, positions and times.

pub mod timestamp;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use crate::memory::Charge;

/// One log of one stream: the stream itself, or a private stream's log of one audience. Unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

/// What a publisher may ask for. The numbers are those of the plugin border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// A newer event of the same topic, kind and key may replace this one in a waiting outbox.
    pub const LATEST: Flags = Flags(1);
    /// Removes the key's record.
    pub const DELETE: Flags = Flags(2);
    /// Refreshes the record; takes a number, is neither delivered nor kept.
    pub const RECORD_ONLY: Flags = Flags(4);
    /// Private streams: to every audience, for the kinds that config lists.
    pub const BROADCAST: Flags = Flags(8);

    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 == flag.0
    }
}

/// An event that has its number: what history keeps, shards deliver and listeners read.
#[derive(Debug)]
pub struct Event {
    pub log: LogId,
    pub seq: u64,
    /// The number of the topic's event before this one, 0 when this is its first. Refreshed records do not count.
    pub prev: u64,
    pub flags: Flags,
    pub stream: Arc<str>,
    /// Full and canonical, `bars:AAPL:1`; the stream's bare name is the root topic.
    pub topic: Arc<str>,
    pub kind: Arc<str>,
    /// Empty: the event has no key.
    pub key: Box<str>,
    /// Empty: the event is for everybody who may read the stream.
    pub audience: Arc<str>,
    pub session_id: Option<Box<str>>,
    pub payload: Bytes,
    pub unix_ns: i64,
    /// When the hub took it, for the time from publish to write.
    pub published: Instant,
    pub encoded: Encoded,
    /// What the event weighs beside its payload, for as long as somebody has it.
    pub charge: Charge,
}

impl Event {
    /// What the event counts for in every bound on bytes: its own text and a flat charge for the struct around it.
    pub fn weight(&self) -> usize {
        Self::weight_beside_payload(&self.key) + self.payload.len()
    }

    pub fn weight_beside_payload(key: &str) -> usize {
        const STRUCT: usize = 256;
        STRUCT + key.len()
    }

    pub fn is_root(&self) -> bool {
        self.topic.len() == self.stream.len()
    }
}

/// A form that an event's bytes are kept in beside it. Who encodes gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(pub u8);

/// The encodings of one event, each made at most once, by whoever needs it first: a list, because most events are needed
/// in one form or none.
#[derive(Debug, Default)]
pub struct Encoded {
    here: OnceLock<(Format, Bytes)>,
    next: OnceLock<Box<Encoded>>,
}

impl Encoded {
    pub fn get_or_encode(&self, format: Format, encode: impl FnOnce() -> Bytes) -> &Bytes {
        let (mut place, mut encode) = (self, Some(encode));
        loop {
            let (known, bytes) = place.here.get_or_init(|| {
                let encode = encode.take().expect("a place that was filled here has this format, and ends the search");
                (format, encode())
            });
            if *known == format {
                return bytes;
            }
            place = place.next.get_or_init(Box::default);
        }
    }
}

/// What a publisher hands in. Everything is borrowed; the hub copies what it keeps, once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    pub flags: Flags,
    pub kind: &'a str,
    /// The part after the stream, canonical, `AAPL:1`; empty is the root topic.
    pub topic: &'a str,
    pub key: &'a str,
    /// JSON that a snapshot shows for the key; empty stands for the payload.
    pub record: &'a [u8],
    pub audience: &'a str,
    pub session_id: &'a str,
    /// A JSON object.
    pub payload: &'a [u8],
    /// Nanoseconds since 1970; 0 is stamped by the hub.
    pub unix_ns: i64,
    pub cause: Option<Cause<'a>>,
    /// Makes a retry harmless; empty is no such promise.
    pub id: &'a str,
}

/// The input that an event was published for, so that repeating the input does not repeat the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause<'a> {
    pub stream: &'a str,
    /// The life of the stream's numbering.
    pub epoch: &'a str,
    pub seq: u64,
    pub ordinal: u32,
}

/// What a client remembers: the life of a numbering and a number in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Arc<str>,
    pub seq: u64,
}

/// Nanoseconds since 1970, from the system's clock.
pub fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

/// Appends `2025-12-29T15:00:00.000Z` for a time in nanoseconds since 1970.
pub fn write_timestamp(unix_ns: i64, out: &mut Vec<u8>) {
    let of_second = write_second(unix_ns, out);
    out.push(b'.');
    write_digits::<3>(of_second / 1_000_000, out);
    out.push(b'Z');
}

/// The same as a text of its own.
pub fn timestamp_of(unix_ns: i64) -> String {
    let mut out = Vec::with_capacity(24);
    write_timestamp(unix_ns, &mut out);
    String::from_utf8(out).expect("it has digits and signs of ASCII only")
}

/// The same with nine decimals.
pub fn write_timestamp_in_nanos(unix_ns: i64, out: &mut Vec<u8>) {
    let of_second = write_second(unix_ns, out);
    out.push(b'.');
    write_digits::<9>(of_second, out);
    out.push(b'Z');
}

/// Appends date and time to the second, and returns the nanoseconds that are left.
fn write_second(unix_ns: i64, out: &mut Vec<u8>) -> i64 {
    let (seconds, nanos) = (unix_ns.div_euclid(1_000_000_000), unix_ns.rem_euclid(1_000_000_000));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write_digits::<4>(year, out); // nanoseconds in 64 bits are of the years 1677 to 2262
    for (mark, part) in [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
        out.push(mark);
        write_digits::<2>(part, out);
    }
    nanos
}

/// So many digits, zeros in front. Every event has some twenty: a format that is read anew for each would be most of an
/// event's envelope.
fn write_digits<const COUNT: usize>(mut number: i64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; COUNT];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Year, month and day of a count of days since 1970-01-01, by the civil calendar (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(unix_ns: i64) -> String {
        let mut out = Vec::new();
        write_timestamp(unix_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_utc_with_three_decimals() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_767_020_400_123_999_999), "2025-12-29T15:00:00.123Z");
        assert_eq!(timestamp(951_782_400_000_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(timestamp(i64::MIN), "1677-09-21T00:12:43.145Z");
        assert_eq!(timestamp(i64::MAX), "2262-04-11T23:47:16.854Z");
        let mut out = Vec::new();
        write_timestamp_in_nanos(1_767_020_400_023_000_009, &mut out);
        assert_eq!(out, b"2025-12-29T15:00:00.023000009Z");
    }

    #[test]
    fn an_encoding_is_made_once() {
        let encoded = Encoded::default();
        for text in ["a", "b", "c"] {
            let format = Format(text.as_bytes()[0]);
            assert_eq!(encoded.get_or_encode(format, || Bytes::from_static(text.as_bytes())), text);
        }
        for text in ["b", "a", "c"] {
            let kept = encoded.get_or_encode(Format(text.as_bytes()[0]), || unreachable!("made twice"));
            assert_eq!(kept, text);
        }
    }
}
