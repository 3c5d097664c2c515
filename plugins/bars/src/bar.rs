//! One bar: what trades make of it, what is always true of it, how bars merge and how a bar is written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// Open, high, low, close and volume of the trades of one span of time.
///
/// Times are milliseconds since the Unix epoch. `first_ts` and `last_ts` are the times of the trades that gave `open`
/// and `close`, so that a trade that arrives out of order still finds its place. `ticks` is 0 for a flat bar that only
/// carries the previous close over a gap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    pub time: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
    pub first_ts: i64,
    pub last_ts: i64,
    pub ticks: u64,
}

/// What a bar takes from one trade; the symbol is known by whoever holds the bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trade {
    pub ts: i64,
    pub price: f64,
    pub size: f64,
}

impl Bar {
    /// A bar opens with its first trade, not with the close of the bar before.
    pub fn new(time: i64, trade: Trade) -> Self {
        let Trade { ts, price, size } = trade;
        Self {
            time,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: size,
            first_ts: ts,
            last_ts: ts,
            ticks: 1,
        }
    }

    /// A bar without trades, which holds the price `close` over a gap.
    pub fn flat(time: i64, close: f64) -> Self {
        Self { ticks: 0, ..Self::new(time, Trade { ts: time, price: close, size: 0.0 }) }
    }

    /// Takes a trade in order of (time, arrival): of two in the same millisecond the first to arrive opens and the
    /// last closes.
    pub fn add(&mut self, trade: Trade) {
        *self = self.merge(Bar::new(self.time, trade));
    }

    /// The roll-up law: the open of the first, the highest high, the lowest low, the close of the last, the sum of the
    /// volumes. `other` arrived after `self`. The sum saturates, so that a volume is always finite.
    #[must_use]
    pub fn merge(self, other: Bar) -> Bar {
        if other.ticks == 0 || self.ticks == 0 {
            let told = if other.ticks == 0 { self } else { other };
            return Bar { time: self.time, ..told };
        }
        let opens = if other.first_ts < self.first_ts { other } else { self };
        let closes = if other.last_ts >= self.last_ts { other } else { self };
        Bar {
            time: self.time,
            open: opens.open,
            high: self.high.max(other.high),
            low: self.low.min(other.low),
            close: closes.close,
            volume: (self.volume + other.volume).min(f64::MAX),
            first_ts: opens.first_ts,
            last_ts: closes.last_ts,
            ticks: self.ticks.saturating_add(other.ticks),
        }
    }

    /// The first of the rules for a single bar that this one breaks, or `None`, as it must be for every published bar.
    pub fn broken_rule(&self) -> Option<&'static str> {
        let finite = [self.open, self.high, self.low, self.close, self.volume].iter().all(|v| v.is_finite());
        let rules = [
            (finite, "every value is finite"),
            (self.low <= self.open.min(self.close), "the low is at most open and close"),
            (self.high >= self.open.max(self.close), "the high is at least open and close"),
            (self.volume >= 0.0, "the volume is not negative"),
            (self.first_ts <= self.last_ts, "the first trade is not after the last"),
        ];
        rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
    }
}

/// A bar as clients read it: prices as floats, an integral volume as an integer.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    pub symbol: &'a str,
    pub resolution: &'a str,
    pub bar: &'a Bar,
    pub is_final: bool,
    pub revision: u32,
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Bar", 10)?;
        object.serialize_field("symbol", self.symbol)?;
        object.serialize_field("resolution", self.resolution)?;
        object.serialize_field("time", &self.bar.time)?;
        object.serialize_field("open", &self.bar.open)?;
        object.serialize_field("high", &self.bar.high)?;
        object.serialize_field("low", &self.bar.low)?;
        object.serialize_field("close", &self.bar.close)?;
        match integral(self.bar.volume) {
            Some(volume) => object.serialize_field("volume", &volume)?,
            None => object.serialize_field("volume", &self.bar.volume)?,
        }
        object.serialize_field("final", &self.is_final)?;
        object.serialize_field("revision", &self.revision)?;
        object.end()
    }
}

impl JsonSchema for Payload<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Bar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An open-high-low-close bar, whole at every update.",
            "type": "object",
            "properties": {
                "symbol": { "type": "string", "description": "What was traded." },
                "resolution": { "type": "string", "description": "How long the bar lasts: `100T` trades, `30S` seconds, `5` minutes, `1D`, `1W`, `1M`." },
                "time": { "type": "integer", "description": "Milliseconds since 1970 (UTC): the start of the bar; of a day, week or month its first date at 00:00 UTC." },
                "open": { "type": "number" },
                "high": { "type": "number" },
                "low": { "type": "number" },
                "close": { "type": "number" },
                "volume": { "type": "number", "minimum": 0 },
                "final": { "type": "boolean", "description": "Whether the bar is closed." },
                "revision": { "type": "integer", "minimum": 0, "description": "How often a late trade has changed the closed bar." }
            },
            "required": ["symbol", "resolution", "time", "open", "high", "low", "close", "volume", "final", "revision"]
        })
    }
}

/// Beyond 2^53 a float no longer holds every integer, and digits would be shown that nobody measured.
fn integral(volume: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (volume.fract() == 0.0 && volume <= EXACT).then_some(volume as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(volume: f64) -> String {
        let trade = Trade { ts: 7, price: 150.0, size: volume };
        let bar = Bar::new(1_697_097_600_000, trade);
        serde_json::to_string(&Payload { symbol: "AAPL", resolution: "1", bar: &bar, is_final: false, revision: 0 })
            .unwrap()
    }

    #[test]
    fn the_wire_form_is_the_documented_one() {
        assert_eq!(
            json(1_000_000.0),
            r#"{"symbol":"AAPL","resolution":"1","time":1697097600000,"open":150.0,"high":150.0,"low":150.0,"close":150.0,"volume":1000000,"final":false,"revision":0}"#
        );
        assert!(json(0.5).contains(r#""volume":0.5,"#));
        assert!(json(9_007_199_254_740_992.0).contains(r#""volume":9007199254740992,"#));
        assert!(json(1e300).contains(r#""volume":1e300,"#) || json(1e300).contains(r#""volume":1e+300,"#));
    }

    #[test]
    fn trades_of_one_millisecond_keep_their_order_of_arrival() {
        let mut bar = Bar::new(0, Trade { ts: 5, price: 1.0, size: 1.0 });
        bar.add(Trade { ts: 5, price: 3.0, size: 1.0 });
        bar.add(Trade { ts: 5, price: 2.0, size: 1.0 });
        assert_eq!((bar.open, bar.high, bar.low, bar.close, bar.volume), (1.0, 3.0, 1.0, 2.0, 3.0));
    }

    #[test]
    fn a_volume_stays_finite() {
        let mut bar = Bar::new(0, Trade { ts: 0, price: 1.0, size: f64::MAX });
        bar.add(Trade { ts: 0, price: 1.0, size: f64::MAX });
        assert_eq!(bar.broken_rule(), None);
    }

    #[test]
    fn a_flat_bar_gives_way_to_trades() {
        let traded = Bar::new(0, Trade { ts: 5, price: 9.0, size: 1.0 });
        assert_eq!(Bar::flat(0, 5.0).merge(traded), traded);
        assert_eq!(traded.merge(Bar::flat(60, 5.0)), traded);
    }

    fn trades() -> impl Strategy<Value = Vec<Trade>> {
        let trade = (-50i64..50, -5i32..50, 0u32..9).prop_map(|(ts, price, size)| Trade {
            ts,
            price: f64::from(price),
            size: f64::from(size),
        });
        prop::collection::vec(trade, 3..60)
    }

    fn aggregate(trades: &[Trade]) -> Bar {
        let (first, rest) = trades.split_first().unwrap();
        rest.iter().fold(Bar::new(0, *first), |bar, trade| bar.merge(Bar::new(0, *trade)))
    }

    proptest! {
        /// Against a plain sort by (time, arrival), in any order of arrival.
        #[test]
        fn a_bar_is_what_the_sorted_trades_say(trades in trades()) {
            let mut bar = Bar::new(0, trades[0]);
            for trade in &trades[1..] {
                let before = bar;
                bar.add(*trade);
                prop_assert!(bar.high >= before.high && bar.low <= before.low && bar.volume >= before.volume);
                prop_assert!(bar.open == before.open || trade.ts < before.first_ts);
            }
            let mut sorted = trades.clone();
            sorted.sort_by_key(|trade| trade.ts);
            prop_assert_eq!(bar.open, sorted[0].price);
            prop_assert_eq!(bar.close, sorted[sorted.len() - 1].price);
            prop_assert_eq!(bar.high, sorted.iter().map(|t| t.price).fold(f64::MIN, f64::max));
            prop_assert_eq!(bar.low, sorted.iter().map(|t| t.price).fold(f64::MAX, f64::min));
            prop_assert_eq!(bar.volume, sorted.iter().map(|t| t.size).sum::<f64>());
            prop_assert_eq!(bar.broken_rule(), None);
        }

        #[test]
        fn merge_is_associative(trades in trades(), a in 1usize..20, b in 1usize..20) {
            let a = a.min(trades.len() - 2);
            let b = (a + b).min(trades.len() - 1);
            let (x, y, z) = (aggregate(&trades[..a]), aggregate(&trades[a..b]), aggregate(&trades[b..]));
            prop_assert_eq!(x.merge(y).merge(z), x.merge(y.merge(z)));
            prop_assert_eq!(x.merge(y).merge(z), aggregate(&trades));
        }
    }
}
