//! The settings of a bars broadcaster: their meaning, defaults and what a schema cannot check.

use std::path::PathBuf;

use broadcastd_plugin_api::duration::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::book::Clock;
use crate::calendar::{Calendar, Texts};
use crate::feed::{MAX_SYMBOL_BYTES, MAX_SYMBOLS, Plan, Prices, Symbols};
use crate::resolution::Resolution;
use crate::series::Rules;

/// Each trade updates the bars of every resolution, so that their number decides what a trade costs.
pub const MAX_RESOLUTIONS: usize = 32;

/// A gap is filled in one go when the clock jumps over it; more bars at once would flood the subscribers.
pub const MAX_FILL: u32 = 10_000;

/// A shorter interval makes more updates than anyone can read.
const SHORTEST_INTERVAL: Duration = Duration::from_ms(10);

/// How long trades from outside are usually on their way.
const USUAL_DELAY: Duration = Duration::from_ms(250);

/// Settings of a broadcaster of open-high-low-close bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where trades come from: `mock` makes them up, `ticks` takes events of kind `tick` from the streams it listens
    /// to, `replay` reads them from a file.
    #[schemars(extend("x-listens" = ["ticks"]))]
    pub source: SourceName,
    /// The symbols to make bars of; `["*"]` takes every symbol that `ticks` names. `replay` has its own.
    pub symbols: Vec<String>,
    /// Lengths of bars in TradingView's grammar: `100T` trades, `30S` seconds, `5` minutes, `1D`, `1W`, `1M`.
    pub resolutions: Vec<String>,
    /// How often the mock trades, and how often records of topics that nobody listens to are refreshed; at least 10ms.
    pub interval: Duration,
    /// What closes bars and makes trades late: `wall` time, or with `event` the newest time among the symbol's trades.
    /// Default: `event` for `replay`, else `wall`.
    pub clock: Option<ClockName>,
    /// How long after its end a closed bar is still amended by late trades; later ones are dropped and counted.
    pub allowed_lateness: Duration,
    /// How long after its end a bar waits for trades that are on their way, before it closes and the next one is shown.
    /// Default: 250ms for `ticks` on the wall clock, else 0s.
    pub close_grace: Option<Duration>,
    /// How far the time of a trade may lie ahead of the wall clock; trades beyond are refused and counted.
    pub max_future: Duration,
    /// What a bar without trades is: `none`, or with `previous_close` a flat bar without volume, inside sessions only.
    pub fill: Fill,
    /// How many flat bars in a row `fill` makes, from 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_fill: u32,
    /// Takes prices of 0 and below, as spreads have.
    pub allow_negative: bool,
    /// The exchange's time zone by its IANA name, such as `America/New_York`.
    pub timezone: String,
    /// Trading hours in exchange time: `24x7`, `0930-1600`, `1700-1700` (from the day before), breaks as a comma list,
    /// days as `:1234567` with 1 for Sunday (default Monday to Friday), several such groups divided by `|`.
    pub session: String,
    /// Trading days without trade: `20241225,20250101`.
    pub holidays: String,
    /// Trading days with other hours: `1000-1400:20181114`, several divided by `;`.
    pub corrections: String,
    /// What `source = "replay"` reads.
    pub replay: Option<ReplaySettings>,
}

/// A file of trades and how fast to play it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaySettings {
    /// A CSV file with lines `timestamp_ms,price,size`; a negative size is a sale. A header is skipped.
    pub file: PathBuf,
    /// The symbol that the file's trades are of.
    pub symbol: String,
    /// How many times faster than it was recorded, above 0 up to 1000000, or `max`.
    #[serde(default)]
    pub speed: Speed,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Speed {
    Factor(f64),
    Named(NamedSpeed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedSpeed {
    /// As fast as the daemon takes it.
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    Mock,
    Ticks,
    Replay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockName {
    Wall,
    Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    None,
    PreviousClose,
}

/// What the settings come to when they are right.
#[derive(Debug, Clone)]
pub struct Setup {
    pub source: Source,
    pub interval: Duration,
    pub feed: Plan,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The symbols to make trades up for.
    Mock(Vec<String>),
    Ticks,
    Replay(ReplaySettings),
}

/// A JSON pointer to the setting at fault, and why.
pub type Refusal = (String, String);

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: SourceName::Mock,
            symbols: ["AAPL", "GOOGL", "MSFT"].map(String::from).into(),
            resolutions: vec!["1".into()],
            interval: Duration::from_ms(2_000),
            clock: None,
            allowed_lateness: Duration::default(),
            close_grace: None,
            max_future: Duration::from_ms(60_000),
            fill: Fill::None,
            max_fill: 500,
            allow_negative: false,
            timezone: "UTC".into(),
            session: "24x7".into(),
            holidays: String::new(),
            corrections: String::new(),
            replay: None,
        }
    }
}

impl Default for Speed {
    fn default() -> Self {
        Speed::Factor(1.0)
    }
}

impl Settings {
    /// Says what a schema cannot, and makes everything that the broadcaster runs on.
    pub fn check(&self) -> Result<Setup, Refusal> {
        if self.interval < SHORTEST_INTERVAL {
            return Err(refuse("/interval", format!("the interval must be at least {SHORTEST_INTERVAL}")));
        }
        let source = self.source()?;
        let clock = self.clock()?;
        let symbols = match &source {
            Source::Replay(replay) => Symbols::Listed(vec![replay.symbol.clone()]),
            Source::Ticks if self.symbols == ["*"] => Symbols::Any,
            Source::Ticks | Source::Mock(_) => Symbols::Listed(self.symbols.clone()),
        };
        let feed = Plan {
            symbols,
            resolutions: self.resolutions()?,
            clock,
            max_future: self.max_future.as_ms(),
            prices: if self.allow_negative { Prices::Any } else { Prices::Positive },
            rules: self.rules(clock)?,
        };
        Ok(Setup { source, interval: self.interval, feed })
    }

    fn source(&self) -> Result<Source, Refusal> {
        match (self.source, &self.replay) {
            (SourceName::Replay, None) => {
                Err(refuse("/replay", "the source \"replay\" needs a table replay = { file = …, symbol = … }".into()))
            }
            (SourceName::Replay, Some(replay)) => {
                check_symbol("/replay/symbol", &replay.symbol)?;
                if let Speed::Factor(factor) = replay.speed
                    && !(factor > 0.0 && factor <= 1_000_000.0)
                {
                    let why = "the speed is a factor above 0 up to 1000000, or \"max\"".into();
                    return Err(refuse("/replay/speed", why));
                }
                Ok(Source::Replay(replay.clone()))
            }
            (SourceName::Mock, _) => {
                self.check_symbols()?;
                Ok(Source::Mock(self.symbols.clone()))
            }
            (SourceName::Ticks, _) if self.symbols == ["*"] => Ok(Source::Ticks),
            (SourceName::Ticks, _) => {
                self.check_symbols()?;
                Ok(Source::Ticks)
            }
        }
    }

    fn check_symbols(&self) -> Result<(), Refusal> {
        check_length("symbols", self.symbols.len(), MAX_SYMBOLS)?;
        for (at, symbol) in self.symbols.iter().enumerate() {
            let pointer = format!("/symbols/{at}");
            if symbol == "*" {
                let why = "\"*\" stands alone, and only the source \"ticks\" knows symbols that are not listed".into();
                return Err((pointer, why));
            }
            check_symbol(&pointer, symbol)?;
        }
        check_distinct("symbols", &self.symbols)
    }

    fn clock(&self) -> Result<Clock, Refusal> {
        match (self.clock, self.source) {
            (Some(ClockName::Wall), SourceName::Replay) => {
                let why = "replayed trades carry a time of their own; write \"event\" or leave the clock out".into();
                Err(refuse("/clock", why))
            }
            (Some(ClockName::Event), _) | (None, SourceName::Replay) => Ok(Clock::Event),
            (Some(ClockName::Wall), _) | (None, _) => Ok(Clock::Wall),
        }
    }

    fn resolutions(&self) -> Result<Vec<Resolution>, Refusal> {
        check_length("resolutions", self.resolutions.len(), MAX_RESOLUTIONS)?;
        let parse = |(at, text): (usize, &String)| text.parse().map_err(|why| (format!("/resolutions/{at}"), why));
        let resolutions: Vec<Resolution> = self.resolutions.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        check_distinct("resolutions", &resolutions)?;
        Ok(resolutions)
    }

    fn rules(&self, clock: Clock) -> Result<Rules, Refusal> {
        if !(1..=MAX_FILL).contains(&self.max_fill) {
            return Err(refuse("/max_fill", format!("max_fill is a number of bars from 1 to {MAX_FILL}")));
        }
        let texts = Texts {
            timezone: &self.timezone,
            session: &self.session,
            holidays: &self.holidays,
            corrections: &self.corrections,
        };
        let calendar = Calendar::new(texts).map_err(|(setting, why)| (format!("/{setting}"), why))?;
        let is_delayed = self.source == SourceName::Ticks && clock == Clock::Wall;
        let usual = if is_delayed { USUAL_DELAY } else { Duration::default() };
        Ok(Rules {
            calendar,
            close_grace: self.close_grace.unwrap_or(usual).as_ms(),
            allowed_lateness: self.allowed_lateness.as_ms(),
            max_fill: if self.fill == Fill::PreviousClose { self.max_fill } else { 0 },
        })
    }
}

fn check_length(setting: &str, length: usize, most: usize) -> Result<(), Refusal> {
    if (1..=most).contains(&length) {
        return Ok(());
    }
    Err((format!("/{setting}"), format!("{setting} must have 1 to {most} entries, this list has {length}")))
}

fn check_symbol(pointer: &str, symbol: &str) -> Result<(), Refusal> {
    if !symbol.is_empty() && symbol.len() <= MAX_SYMBOL_BYTES {
        return Ok(());
    }
    Err(refuse(pointer, format!("a symbol has 1 to {MAX_SYMBOL_BYTES} bytes, this one has {}", symbol.len())))
}

fn check_distinct<T: PartialEq + std::fmt::Display>(setting: &str, list: &[T]) -> Result<(), Refusal> {
    let double = list.iter().enumerate().find(|(at, item)| list[..*at].contains(item));
    double.map_or(Ok(()), |(at, item)| Err((format!("/{setting}/{at}"), format!("{item} is listed twice; remove one"))))
}

fn refuse(pointer: &str, why: String) -> Refusal {
    (pointer.to_owned(), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(settings: Value) -> Result<Setup, Refusal> {
        serde_json::from_value::<Settings>(settings).unwrap().check()
    }

    #[test]
    fn nothing_set_is_the_mock_of_the_requirements() {
        let setup = check(json!({})).unwrap();
        assert_eq!(setup.source, Source::Mock(vec!["AAPL".into(), "GOOGL".into(), "MSFT".into()]));
        assert_eq!(setup.interval.as_ms(), 2_000);
        assert_eq!(setup.feed.resolutions, ["1".parse().unwrap()]);
        assert_eq!((setup.feed.clock, setup.feed.rules.close_grace), (Clock::Wall, 0));
        assert_eq!(setup.feed.rules.max_fill, 0);
    }

    #[test]
    fn the_clock_and_the_grace_follow_the_source() {
        let ticks = check(json!({"source": "ticks", "symbols": ["*"]})).unwrap();
        assert_eq!((ticks.feed.clock, ticks.feed.rules.close_grace), (Clock::Wall, 250));
        assert_eq!(ticks.feed.symbols, Symbols::Any);
        let event = check(json!({"source": "ticks", "clock": "event", "fill": "previous_close"})).unwrap();
        assert_eq!((event.feed.clock, event.feed.rules.close_grace), (Clock::Event, 0));
        assert_eq!(event.feed.rules.max_fill, 500);
        let replay =
            check(json!({"source": "replay", "replay": {"file": "t.csv", "symbol": "XBTUSD", "speed": "max"}}));
        let replay = replay.unwrap();
        assert_eq!((replay.feed.clock, replay.feed.symbols), (Clock::Event, Symbols::Listed(vec!["XBTUSD".into()])));
    }

    #[test]
    fn a_bad_value_is_pointed_at() {
        let many: Vec<String> = (1..=33).map(|n| n.to_string()).collect();
        let replay = |symbol: &str, speed: f64| json!({"source": "replay", "replay": {"file": "t", "symbol": symbol, "speed": speed}});
        for (settings, pointer, why) in [
            (json!({"interval": "9ms"}), "/interval", "at least 10ms"),
            (json!({"symbols": []}), "/symbols", "1 to 10000 entries"),
            (json!({"symbols": ["A", ""]}), "/symbols/1", "1 to 128 bytes, this one has 0"),
            (json!({"symbols": ["A", "B", "A"]}), "/symbols/2", "A is listed twice"),
            (json!({"symbols": ["*"]}), "/symbols/0", "only the source \"ticks\""),
            (json!({"source": "ticks", "symbols": ["A", "*"]}), "/symbols/1", "stands alone"),
            (json!({"resolutions": []}), "/resolutions", "1 to 32 entries"),
            (json!({"resolutions": many}), "/resolutions", "this list has 33"),
            (json!({"resolutions": ["1", "1H"]}), "/resolutions/1", "an hour is \"60\""),
            (json!({"resolutions": ["D", "1D"]}), "/resolutions/1", "1D is listed twice"),
            (json!({"max_fill": 0}), "/max_fill", "from 1 to 10000"),
            (json!({"max_fill": 10_001}), "/max_fill", "from 1 to 10000"),
            (json!({"timezone": "Mars"}), "/timezone", "is unknown"),
            (json!({"session": "always"}), "/session", "write \"24x7\""),
            (json!({"holidays": "20249999"}), "/holidays", "YYYYMMDD"),
            (json!({"corrections": "x"}), "/corrections", "names no date"),
            (json!({"source": "replay"}), "/replay", "needs a table"),
            (replay("", 1.0), "/replay/symbol", "1 to 128 bytes"),
            (replay("A", 0.0), "/replay/speed", "above 0"),
        ] {
            let error = check(settings.clone()).unwrap_err();
            assert!(error.0 == pointer && error.1.contains(why), "{settings}: {error:?}");
        }
        let mut wall = replay("A", 1.0);
        wall["clock"] = "wall".into();
        assert_eq!(check(wall).unwrap_err().0, "/clock");
    }

    #[test]
    fn shapes_are_the_schemas_matter() {
        for bad in
            [json!({"colour": 1}), json!({"source": "file"}), json!({"symbols": "A"}), json!({"interval": "soon"})]
        {
            assert!(serde_json::from_value::<Settings>(bad.clone()).is_err(), "{bad}");
        }
        let schema = schemars::schema_for!(Settings).to_value();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["interval"]["format"], "duration");
        assert_eq!(schema["properties"]["interval"]["default"], "2s");
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name} is described");
        }
    }
}
