//! What is published, as a function of its number (but for the time in it): so that any client can say by itself what it should have
//! got, without anybody keeping a list.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// Symbols of the topics, `S0` to `S7`.
pub const SYMBOLS: u64 = 8;
/// Venues of the topics, `v0` and `v1`.
pub const VENUES: u64 = 2;
/// Keys of a topic's records.
const KEYS: u64 = 2;
/// One event in so many has a key.
const KEYED_ONE_IN: u64 = 3;
/// One event in so many is large.
const LARGE_ONE_IN: u64 = 16;
const LARGE: u64 = 16 << 10;
const USUAL: u64 = 2 << 10;

/// Bytes of padding in an event of the crowd.
pub const CROWD_PAD: usize = 230;
/// Topics of the crowd that few hear.
const CROWD_TOPICS: u64 = 1000;
/// One event of the crowd in so many is for all.
const SHARED_ONE_IN: u64 = 17;

/// What the crowd hears on one topic: all of it, or few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Shared,
    Few(u64),
}

impl Channel {
    /// Where the event with a number is.
    pub fn of(seq: u64) -> Self {
        if seq.is_multiple_of(SHARED_ONE_IN) { Self::Shared } else { Self::nth(seq) }
    }

    /// What one of the crowd hears beside what all hear.
    pub fn nth(number: u64) -> Self {
        Self::Few(number % CROWD_TOPICS)
    }

    pub fn topic(self, stream: &str) -> String {
        match self {
            Self::Shared => format!("{stream}:all"),
            Self::Few(number) => format!("{stream}:t{number}"),
        }
    }

    /// The first number behind this one that is an event of the channel.
    pub fn next_after(self, seq: u64) -> u64 {
        let multiple = |of: u64, rest: u64| seq + 1 + (of + rest - (seq + 1) % of) % of;
        match self {
            Self::Shared => multiple(SHARED_ONE_IN, 0),
            Self::Few(number) => {
                let first = multiple(CROWD_TOPICS, number);
                if Self::of(first) == self { first } else { first + CROWD_TOPICS }
            }
        }
    }
}

/// The event with a number, the same in every relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    pub seq: u64,
    pub symbol: u64,
    pub venue: u64,
    pub key: Option<u64>,
    /// Bytes of padding in the payload.
    pub pad: usize,
}

impl Truth {
    pub fn of(seq: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seq);
        let (symbol, venue) = (random.u64(..SYMBOLS), random.u64(..VENUES));
        let key = (random.u64(..KEYED_ONE_IN) == 0).then(|| random.u64(..KEYS));
        let most = if random.u64(..LARGE_ONE_IN) == 0 { LARGE } else { USUAL };
        Self { seq, symbol, venue, key, pad: random.u64(..most) as usize }
    }

    pub fn topic(&self, stream: &str) -> String {
        format!("{stream}:S{}:v{}", self.symbol, self.venue)
    }
}

/// The event with a number as it is published to a relay.
pub fn relayed(stream: &str, seq: u64) -> String {
    let truth = Truth::of(seq);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let data = json!({
        "n": seq,
        "pad": "x".repeat(truth.pad),
        "symbol": format!("S{}", truth.symbol),
        "time": now,
        "price": 100 + seq % 10,
        "size": 1,
    });
    let mut event = json!({"type": "tick", "topic": truth.topic(stream), "data": data});
    if let Some(key) = truth.key {
        event["key"] = key.to_string().into();
    }
    event.to_string()
}

/// The same for the crowd.
pub fn told_to_crowd(stream: &str, seq: u64) -> String {
    let data = json!({"n": seq, "pad": "x".repeat(CROWD_PAD)});
    json!({"type": "tick", "topic": Channel::of(seq).topic(stream), "data": data}).to_string()
}

/// What a client asks for of a relay; `None` is every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub symbol: Option<u64>,
    pub venue: Option<u64>,
}

impl Pattern {
    pub fn random(random: &mut fastrand::Rng) -> Self {
        let symbol = random.u64(..SYMBOLS);
        match random.u8(..8) {
            0 => Self { symbol: None, venue: None },
            1 => Self { symbol: None, venue: Some(random.u64(..VENUES)) },
            2..5 => Self { symbol: Some(symbol), venue: None },
            _ => Self { symbol: Some(symbol), venue: Some(random.u64(..VENUES)) },
        }
    }

    pub fn topic(&self, stream: &str) -> String {
        match (self.symbol, self.venue) {
            (None, None) => stream.to_owned(),
            (None, Some(venue)) => format!("{stream}:*:v{venue}"),
            (Some(symbol), None) => format!("{stream}:S{symbol}:*"),
            (Some(symbol), Some(venue)) => format!("{stream}:S{symbol}:v{venue}"),
        }
    }

    pub fn matches(&self, event: &Truth) -> bool {
        self.symbol.is_none_or(|symbol| symbol == event.symbol) && self.venue.is_none_or(|venue| venue == event.venue)
    }

    /// The first number behind this one that is an event of the pattern.
    pub fn next_after(&self, seq: u64) -> u64 {
        (seq + 1..).find(|seq| self.matches(&Truth::of(*seq))).unwrap_or(u64::MAX)
    }

    /// The numbers of the events that a snapshot at this number shows: the newest of each key in each topic.
    pub fn shown_at(&self, seq: u64) -> BTreeSet<u64> {
        let one_of = |all: u64, one: Option<u64>| if one.is_some() { 1 } else { all };
        let all = (one_of(SYMBOLS, self.symbol) * one_of(VENUES, self.venue) * KEYS) as usize;
        let (mut keys, mut shown) = (BTreeSet::new(), BTreeSet::new());
        for event in (1..=seq).rev().map(Truth::of).filter(|event| self.matches(event)) {
            if keys.len() == all {
                break;
            }
            if event.key.is_some_and(|key| keys.insert((event.symbol, event.venue, key))) {
                shown.insert(event.seq);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Pattern = Pattern { symbol: None, venue: None };

    #[test]
    fn a_number_is_always_the_same_event() {
        assert_eq!(Truth::of(7), Truth::of(7));
        assert_eq!((ALL.next_after(41), ALL.topic("ticks").as_str()), (42, "ticks"));
    }

    #[test]
    fn every_event_belongs_to_exactly_one_topic() {
        let one = Pattern { symbol: Some(3), venue: Some(1) };
        let event = Truth::of(one.next_after(100));
        assert_eq!(event.topic("ticks"), one.topic("ticks"));
        let matching = |event: Truth| {
            let symbols = (0..SYMBOLS).flat_map(|symbol| (0..VENUES).map(move |venue| (Some(symbol), Some(venue))));
            symbols.filter(|(symbol, venue)| Pattern { symbol: *symbol, venue: *venue }.matches(&event)).count()
        };
        assert!((1..100).all(|seq| matching(Truth::of(seq)) == 1));
    }

    #[test]
    fn what_comes_next_in_a_channel_is_the_next_that_belongs_to_it() {
        for channel in [Channel::Shared, Channel::nth(0), Channel::nth(17), Channel::nth(999)] {
            for seq in (0..100).chain(16_900..17_100) {
                let next = (seq + 1..).find(|seq| Channel::of(*seq) == channel).unwrap();
                assert_eq!(channel.next_after(seq), next, "{channel:?} after {seq}");
            }
        }
    }

    #[test]
    fn a_snapshot_shows_the_newest_of_every_key() {
        let shown = ALL.shown_at(10_000);
        assert_eq!(shown.len() as u64, SYMBOLS * VENUES * KEYS);
        for seq in &shown {
            let event = Truth::of(*seq);
            let same = |other: &Truth| (other.symbol, other.venue, other.key) == (event.symbol, event.venue, event.key);
            assert!((seq + 1..=10_000).map(Truth::of).all(|newer| !same(&newer)), "{event:?}");
        }
        assert_eq!(ALL.shown_at(0), BTreeSet::new());
    }
}
