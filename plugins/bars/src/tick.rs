//! A trade as it comes in, and why one can be refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::bar::Trade;

/// The `data` of an event of kind `tick`. Other members are ignored: feeds say more than a bar needs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tick<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    /// Milliseconds since the Unix epoch.
    pub time: i64,
    pub price: f64,
    /// Traded amount, 0 or more.
    pub size: f64,
    /// Whatever the feed numbers its trades with, a text or an integer, reduced to 64 bits.
    #[serde(default, deserialize_with = "id")]
    pub id: Option<u64>,
}

impl Tick<'_> {
    pub fn trade(&self) -> Trade {
        Trade { ts: self.time, price: self.price, size: self.size }
    }
}

/// Why a trade makes no bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    NotFinite,
    Price,
    Size,
    TooFarAhead,
    UnknownSymbol,
    TooManySymbols,
    OutOfSession,
    Duplicate,
}

impl Reject {
    pub const ALL: [Reject; 8] = [
        Reject::NotFinite,
        Reject::Price,
        Reject::Size,
        Reject::TooFarAhead,
        Reject::UnknownSymbol,
        Reject::TooManySymbols,
        Reject::OutOfSession,
        Reject::Duplicate,
    ];

    /// The reason as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Reject::NotFinite => "not_finite",
            Reject::Price => "price",
            Reject::Size => "size",
            Reject::TooFarAhead => "too_far_ahead",
            Reject::UnknownSymbol => "unknown_symbol",
            Reject::TooManySymbols => "too_many_symbols",
            Reject::OutOfSession => "out_of_session",
            Reject::Duplicate => "duplicate",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reject::NotFinite => "price and size must be finite numbers",
            Reject::Price => "the price must be above 0; set allow_negative for instruments that trade at or below it",
            Reject::Size => "the size must be 0 or more",
            Reject::TooFarAhead => "the time lies further ahead of the clock than max_future",
            Reject::UnknownSymbol => "the symbol is not among the symbols of the settings",
            Reject::TooManySymbols => "the table of symbols is full; name the symbols in the settings",
            Reject::OutOfSession => "the time lies outside of every trading session of the calendar",
            Reject::Duplicate => "a trade with this id has been taken",
        })
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(IdVisitor)
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, an integer or null")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(fnv1a(text)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// FNV-1a, because it is the same in every build: ids outlive a restart in the saved state.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Tick<'_>, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_tick_reads_as_documented() {
        let tick = parse(r#"{"symbol":"AAPL","time":1697097600000,"price":150.5,"size":10,"venue":"X"}"#).unwrap();
        assert_eq!(tick, Tick { symbol: "AAPL".into(), time: 1_697_097_600_000, price: 150.5, size: 10.0, id: None });
        assert!(matches!(tick.symbol, Cow::Borrowed(_)), "the usual symbol costs no allocation");
    }

    #[test]
    fn an_id_is_a_text_or_an_integer() {
        let id =
            |id: &str| parse(&format!(r#"{{"symbol":"A","time":1,"price":1,"size":1,"id":{id}}}"#)).map(|tick| tick.id);
        assert_eq!(id("null").unwrap(), None);
        assert_eq!(id("17").unwrap(), id("\"17\"").unwrap());
        assert_ne!(id("17").unwrap(), id("-17").unwrap());
        assert_eq!(id("\"\"").unwrap(), Some(0xcbf2_9ce4_8422_2325));
        assert_eq!(id("\"a\"").unwrap(), Some(0xaf63_dc4c_8601_ec8c), "the published value of FNV-1a");
        for bad in ["1.5", "[]", "{}", "true"] {
            assert!(id(bad).unwrap_err().to_string().contains("a text, an integer or null"), "{bad}");
        }
    }

    #[test]
    fn wrong_shapes_are_errors() {
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"symbol":"A","time":1.5,"price":1,"size":1}"#,
            r#"{"symbol":"A","time":"1","price":1,"size":1}"#,
            r#"{"symbol":1,"time":1,"price":1,"size":1}"#,
            r#"{"symbol":"A","time":1,"price":1e999,"size":1}"#,
            r#"{"symbol":"A","time":99999999999999999999,"price":1,"size":1}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
